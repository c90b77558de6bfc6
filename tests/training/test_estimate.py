"""training/estimate.py: what a run will take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import ConfigError
from training import before, recipe
from training.estimate import Device, Shape, Work, estimate

QWEN_7B = {
    "hidden_size": 3584, "num_hidden_layers": 28, "intermediate_size": 18944, "vocab_size": 152064,
    "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False,
}  # fmt: skip
WORK = Work(examples=1000, tokens=400_000, longest=900, epochs=3, batch=16, accumulation=1, max_length=2048, packing=False, rank=16, quantization="none")
GPU = Device(gpu=True, dtype="bfloat16")


def test_the_sizes_of_a_known_model() -> None:
    """Qwen2.5-7B has 7.6 billion parameters; an adapter of rank 16 on all linear layers has 40.4 million."""
    shape = Shape.of(QWEN_7B)
    assert shape.parameters == pytest.approx(7.616e9, rel=0.001)
    assert estimate(WORK, shape, GPU).adapter_parameters == 40_370_176


def test_steps_and_tokens() -> None:
    """Examples by batch and accumulation, or packed rows; three epochs."""
    shape = Shape.of(QWEN_7B)
    assert (estimate(WORK, shape, GPU).steps, estimate(WORK, shape, GPU).tokens) == (189, 1_200_000)
    assert estimate(replace(WORK, accumulation=4), shape, GPU).steps == 48
    assert estimate(replace(WORK, packing=True), shape, GPU).steps == 39


def test_memory() -> None:
    """Four bits take a quarter of sixteen; it fits or not; more batch takes more."""
    shape = Shape.of(QWEN_7B)
    whole, quarter = (estimate(replace(WORK, quantization=kind), shape, replace(GPU, memory_bytes=48 * 10**9)) for kind in ("none", "nf4"))
    assert whole.memory["base"] == pytest.approx(15.2e9, rel=0.01)
    assert quarter.memory["base"] == pytest.approx(3.93e9, rel=0.01)
    assert whole.memory_bytes == sum(whole.memory.values())
    one = replace(WORK, batch=1)
    assert estimate(one, shape, replace(GPU, memory_bytes=24 * 10**9)).fits is True
    assert estimate(one, shape, replace(GPU, memory_bytes=12 * 10**9)).fits is False
    assert estimate(one, shape, GPU).fits is None
    small = replace(shape, parameters=10**8)
    assert estimate(WORK, small, GPU).memory["activations"] > estimate(WORK, replace(small, parameters=10**9), GPU).memory["activations"]


def test_time_and_dollars() -> None:
    """Measured where it was, published as a wide range, unknown on a CPU that has not trained yet."""
    shape = Shape.of(QWEN_7B)
    timed = estimate(WORK, shape, replace(GPU, tokens_per_s=4000.0, gpu_hour_nanousd=2_500_000_000))
    assert timed.seconds == (pytest.approx(250.0), pytest.approx(375.0))
    assert timed.nanousd == (173_611_111, 260_416_667)
    assert timed.speed_from == "measured"
    wide = estimate(WORK, shape, GPU)
    assert wide.speed_from == "published"
    assert wide.seconds is not None
    assert wide.seconds[1] > 4 * wide.seconds[0]
    assert wide.nanousd is None
    unknown = estimate(WORK, shape, Device(gpu=False, dtype="float32"))
    assert (unknown.seconds, unknown.speed_from) == (None, "unknown")
    assert json.dumps(unknown.as_dict())


def test_earlier_runs_of_the_same_base_are_the_measure(tmp_path: Path) -> None:
    """Another base, another quantisation, another device, a damaged file: none of them counts."""
    wanted = recipe.Recipe.model_validate({"name": "a", "base": "org/b", "data": "f", "output": "out/a"}, context={"root": tmp_path})
    assert before.measured(wanted, "cpu") is None
    (tmp_path / "out").mkdir()
    same = {"base": "org/b", "quantization": "none", "device": "cpu", "tokens_per_s": 123.0}
    for name, changed in (("x", {"base": "org/c"}), ("y", {"quantization": "nf4"}), ("z", {"device": "cuda"}), ("w", {"tokens_per_s": None})):
        (tmp_path / "out" / f"{name}.training.json").write_text(json.dumps({**same, **changed}))
    (tmp_path / "out" / "v.training.json").write_text("{")
    assert before.measured(wanted, "cpu") is None
    for name in "wv":
        (tmp_path / "out" / f"{name}.training.json").unlink()
    (tmp_path / "out" / "u.training.json").write_text(json.dumps(same))
    assert before.measured(wanted, "cpu") == 123.0


def test_an_architecture_without_known_sizes(tmp_path: Path) -> None:
    """Named, not guessed."""
    (tmp_path / "config.json").write_text(json.dumps({"d_model": 512}))
    with pytest.raises(ConfigError, match="hidden_size"):
        before.shape_of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    assert before.shape_of(tmp_path) == Shape.of(QWEN_7B)
