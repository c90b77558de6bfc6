"""Bases, adapters and databases for the tests of serving, made without torch: safetensors are written by hand."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from serving.base import BaseIdentity, identify
from serving.database import connect, metadata
from serving.states import State
from serving.views import VersionView

LAYERS, HIDDEN, INNER, HEADS, KEYS = 2, 16, 24, 4, 2
SHAPES = {
    "q_proj": (16, 16), "k_proj": (8, 16), "v_proj": (8, 16), "o_proj": (16, 16), "gate_proj": (24, 16), "up_proj": (24, 16), "down_proj": (16, 24),
}  # fmt: skip
CONFIG = {
    "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": KEYS, "vocab_size": 64,
}  # fmt: skip
TOKENIZER = {"model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}, "added_tokens": [{"id": 3, "content": "<s>"}]}
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def safetensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    """Write a safetensors file."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, raw) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    head = json.dumps(entries).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(raw for _, _, raw in tensors.values()))


def floats(values: list[float], dtype: str = "F32") -> bytes:
    """Values as the bytes of a dtype."""
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{ {'F32': 'f', 'F64': 'd', 'F16': 'e'}[dtype] }", *values)


def make_base(directory: Path, **config: Any) -> Path:
    """A base model's directory: everything but sensible weights."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(CONFIG | config))
    (directory / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (directory / "chat_template.jinja").write_text(TEMPLATE)
    safetensors(directory / "model.safetensors", {"w": ("F32", (2,), floats([0.5, 0.25]))})
    return directory


def lora(rank: int = 4, layers: int = LAYERS, dtype: str = "F32", shapes: Mapping[str, tuple[int, int]] = SHAPES, size: float = 0.1, seed: int = 1) -> Tensors:
    """The tensors of a good LoRA for `make_base`."""
    rng = random.Random(seed)

    def some(rows: int, columns: int) -> tuple[str, tuple[int, ...], bytes]:
        return dtype, (rows, columns), floats([rng.uniform(-size, size) for _ in range(rows * columns)], dtype)

    found: Tensors = {}
    for layer in range(layers):
        for module, (out, into) in shapes.items():
            block = "mlp" if module in {"gate_proj", "up_proj", "down_proj"} else "self_attn"
            name = f"base_model.model.model.layers.{layer}.{block}.{module}"
            found[f"{name}.lora_A.weight"] = some(rank, into)
            found[f"{name}.lora_B.weight"] = some(out, rank)
    return found


def peft_config(**changes: Any) -> dict[str, Any]:
    """adapter_config.json as PEFT writes it, the keys that matter."""
    body = {
        "peft_type": "LORA", "base_model_name_or_path": "somewhere/base", "r": 4, "lora_alpha": 8, "bias": "none", "use_dora": False, "modules_to_save": None,
        "fan_in_fan_out": False, "init_lora_weights": True, "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}, "layers_to_transform": None,
        "target_modules": sorted(SHAPES),
    }  # fmt: skip
    return body | changes


def make_adapter(directory: Path, tensors: Tensors | None = None, fake: Mapping[str, Any] | None = None, **config: Any) -> Path:
    """An adapter's directory. `fake` is what the stand-in for vLLM computes with it."""
    directory.mkdir(parents=True)
    (directory / "adapter_config.json").write_text(json.dumps(peft_config(**config)))
    safetensors(directory / "adapter_model.safetensors", lora() if tensors is None else tensors)
    if fake is not None:
        (directory / "fake.json").write_text(json.dumps(fake))
    return directory


def probes(shift: float, ids: tuple[tuple[int, ...], ...] = ((5, 9, 30, 7), (2, 8, 40))) -> dict[str, Any]:
    """What a trainer would record if it computed what the stand-in for vLLM computes."""
    base = [[-1.0 - i / 1000 for i in row[1:]] for row in ids]
    rows = [{"token_ids": list(r), "base_logprobs": b, "adapter_logprobs": [v + shift for v in b]} for r, b in zip(ids, base, strict=True)]
    return {"format": 1, "dtype": "float32", "base": {"logprobs": base}, "probes": rows}


def conversation(answer: str, seen: str | None = None) -> dict[str, Any]:
    """What a trainer records of one conversation if its template is the stand-in's; `seen` is the answer it saw where that is another."""
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "tools": [], "token_ids": list(f"user:hi\nassistant:{answer if seen is None else seen}\n".encode())}


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit a JSON file in place."""
    body = json.loads(path.read_text())
    edit(body)
    path.write_text(json.dumps(body))


def identity(directory: Path) -> BaseIdentity:
    """The identity of a base made here."""
    return identify(directory)


def make_database(directory: Path) -> Engine:
    """An empty database with serving's tables."""
    directory.mkdir(parents=True, exist_ok=True)
    engine = connect("sqlite:///breakeven.db", directory)
    metadata.create_all(engine)
    return engine


def version(adapter: str = "a", number: int = 0, digest: str = "", **more: Any) -> VersionView:
    """A version to add, or to plan with."""
    return VersionView(
        adapter, number, digest or f"{number:064x}", more.pop("path", f"/adapters/{adapter}/{number}"), more.pop("state", State.REGISTERED), **more
    )
