"""What a training run will take before it begins: steps, tokens, memory, time, dollars. Pure arithmetic on counted tokens and a base's config.json.

Public: `estimate(work, shape, device) -> Estimate`, `Shape.of(config)`, `Work`, `Device`.
Every figure says where it comes from: memory is computed, speed is measured on this machine by an earlier run of the same base or scaled from published
runs, unknown stays unknown. Not here: counting tokens (tokens.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

# Tokens per second of published runs of 8-billion-parameter bases with packing on one card (torchtune's README: RTX 4090 and A6000, LoRA; 4090, QLoRA).
PUBLISHED = {"none": (3083.0, 4699.0), "nf4": (2413.0, 2413.0)}
PUBLISHED_PARAMETERS = 8.0e9
# Bytes per parameter of the frozen base; nf4 with double quantisation: 4 bits and 0.127 bits of constants (QLoRA, Dettmers et al. 2023, section 3).
_BASE_BYTES = {"none": {"bfloat16": 2.0, "float32": 4.0}, "nf4": {"bfloat16": 0.516, "float32": 0.516}}
# An adapter's parameter in float32, its gradient, and Adam's two moments.
_TRAINED_BYTES = 16.0
# Activations of one transformer layer per token and unit of hidden size, in bytes, at 16 bits (Korthikanti et al. 2022, equation 2, without attention maps).
_LAYER_BYTES = 34.0
# What a CUDA process holds before it holds anything.
_CUDA_BYTES = 0.8e9
# Activations are recomputed from this size on (training/loop.py does the same).
_RECOMPUTE_FROM = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """A base model's sizes. `linear` is the sum over adapted matrices of (inputs + outputs), so that an adapter of rank r has r x linear parameters."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    linear: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From config.json of a decoder of the Llama family (Llama, Mistral, Qwen, Gemma). Raises KeyError for a key that is missing."""
        hidden, layers, inner, words = (int(config[key]) for key in ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"))
        heads = int(config["num_attention_heads"])
        width = int(config.get("head_dim") or hidden // heads)
        queries, keys = heads * width, int(config.get("num_key_value_heads") or heads) * width
        matrices = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden), (hidden, inner), (hidden, inner), (inner, hidden)]
        embedding = words * hidden * (1 if config.get("tie_word_embeddings") else 2)
        return cls(
            parameters=embedding + layers * (sum(a * b for a, b in matrices) + 2 * hidden) + hidden,
            layers=layers,
            hidden=hidden,
            vocabulary=words,
            linear=layers * sum(a + b for a, b in matrices),
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done. `tokens` are those of one epoch, `longest` of the longest example; `batch` examples are in memory at once."""

    examples: int
    tokens: int
    longest: int
    epochs: float
    batch: int
    accumulation: int
    max_length: int
    packing: bool
    rank: int
    quantization: Literal["none", "nf4"]


@dataclass(frozen=True, slots=True)
class Device:
    """Where. `tokens_per_s` was measured with this base and quantisation, None: not yet. `gpu_hour_nanousd` None: unknown. `memory_bytes` None: unknown."""

    gpu: bool
    dtype: str
    tokens_per_s: float | None = None
    gpu_hour_nanousd: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """`seconds` and `nanousd` are (low, high); None: unknown. `fits` is None where the device's memory is unknown."""

    steps: int
    tokens: int
    adapter_parameters: int
    memory_bytes: int
    memory: dict[str, int]
    fits: bool | None
    seconds: tuple[float, float] | None
    speed_from: Literal["measured", "published", "unknown"]
    nanousd: tuple[int, int] | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def estimate(work: Work, shape: Shape, device: Device) -> Estimate:
    """Everything that can be said beforehand."""
    rows = math.ceil(work.tokens / work.max_length) if work.packing else work.examples
    per_epoch = math.ceil(math.ceil(rows / work.batch) / work.accumulation)
    steps = math.ceil(per_epoch * work.epochs)
    tokens = math.ceil(work.tokens * work.epochs)
    memory = _memory(work, shape, device)
    total = sum(memory.values())
    rates, origin = _rates(work, shape, device)
    seconds = None if rates is None else (tokens / rates[1], tokens / rates[0])
    price = device.gpu_hour_nanousd
    nanousd = None if seconds is None or price is None else (round(seconds[0] / 3600 * price), round(seconds[1] / 3600 * price))
    fits = None if device.memory_bytes is None else total <= device.memory_bytes
    return Estimate(steps, tokens, work.rank * shape.linear, total, memory, fits, seconds, origin, nanousd)


def _memory(work: Work, shape: Shape, device: Device) -> dict[str, int]:
    """Bytes by what they are for."""
    row = work.max_length if work.packing else work.longest
    in_batch = work.batch * row
    width = 2.0 if device.dtype == "bfloat16" else 4.0
    layer = in_batch * shape.hidden * _LAYER_BYTES * width / 2.0
    kept = in_batch * shape.hidden * width
    activations = layer + shape.layers * kept if shape.parameters >= _RECOMPUTE_FROM else shape.layers * layer
    return {
        "base": round(shape.parameters * _BASE_BYTES[work.quantization][device.dtype]),
        "adapter": round(work.rank * shape.linear * _TRAINED_BYTES),
        "activations": round(activations),
        # the scores of every word, in float32, and their gradient
        "scores": in_batch * shape.vocabulary * 8,
        "runtime": round(_CUDA_BYTES) if device.gpu else 0,
    }


def _rates(work: Work, shape: Shape, device: Device) -> tuple[tuple[float, float] | None, Literal["measured", "published", "unknown"]]:
    """Tokens per second, low and high, and where they come from."""
    if device.tokens_per_s is not None:
        return (0.8 * device.tokens_per_s, 1.2 * device.tokens_per_s), "measured"
    if not device.gpu:
        return None, "unknown"
    low, high = PUBLISHED[work.quantization]
    scale = PUBLISHED_PARAMETERS / shape.parameters
    return (low * scale / 2.0, high * scale * 2.0), "published"
