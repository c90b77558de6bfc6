"""The gallery of adapters that must not go in: vLLM loads most of them with 200. Each is refused for the right reason; the good ones pass."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.admission import Admission, Limits, check
from tests.serving.making import LAYERS, SHAPES, TEMPLATE, TOKENIZER, Tensors, change, floats, identity, lora, make_adapter, make_base, safetensors

LIMITS = Limits(max_rank=16)
Q = "base_model.model.model.layers.0.self_attn.q_proj"
DOWN = "base_model.model.model.layers.1.mlp.down_proj"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base")


def judge(path: Path, base: Path | None, limits: Limits = LIMITS) -> Admission:
    return check(path, None if base is None else identity(base), limits)


def codes(path: Path, base: Path | None, limits: Limits = LIMITS) -> set[str]:
    return {reason.code for reason in judge(path, base, limits).reasons}


def test_a_good_adapter_passes_every_check(tmp_path: Path, base: Path) -> None:
    """Nothing is skipped and nothing fails."""
    found = judge(make_adapter(tmp_path / "a"), base)
    assert found.reasons == ()
    assert set(found.checks.values()) == {"passed"}
    assert len(found.checks) == 10


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        (lora(dtype="BF16"), {}),
        (lora(dtype="F64"), {}),
        (lora(dtype="F16"), {}),
        (lora(rank=12), {"r": 12}),
        (lora(), {"use_rslora": True}),
        (lora(shapes={k: SHAPES[k] for k in ("q_proj", "v_proj")}), {"target_modules": ["q_proj", "v_proj"]}),
        (lora(shapes={k: SHAPES[k] for k in ("q_proj", "v_proj")}), {"target_modules": "(?:.*attn.*)(?:q_proj|v_proj)"}),
        (lora(layers=1), {"layers_to_transform": [0]}),
        (lora(layers=1), {"layers_to_transform": 0}),
        (lora(), {"init_lora_weights": "gaussian"}),
        (lora(), {"base_model_name_or_path": "unsloth/Base-bnb-4bit"}),
        ({**lora(), **{k: v for k, v in lora(rank=8).items() if k.startswith(Q)}}, {"rank_pattern": {"^model\\.layers\\.0\\.self_attn\\.q_proj$": 8}}),
        ({**lora(), **{k: v for k, v in lora(rank=8).items() if ".down_proj." in k}}, {"rank_pattern": {"down_proj": 8}, "alpha_pattern": {"down_proj": 1}}),
    ],
)
def test_adapters_made_elsewhere_pass(tmp_path: Path, base: Path, tensors: Tensors, config: dict[str, Any]) -> None:
    """bf16, f64, odd ranks, rsLoRA, few modules, patterns, single layers: what vLLM serves rightly goes in."""
    assert judge(make_adapter(tmp_path / "a", tensors, **config), base).reasons == ()


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"use_dora": True}, "dora"),
        ({"bias": "all"}, "bias"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init"),
        ({"init_lora_weights": "pissa_niter_4"}, "init"),
        ({"init_lora_weights": "olora"}, "init"),
        ({"init_lora_weights": "loftq"}, "init"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"alora_invocation_tokens": [1]}, "alora"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"use_qalora": True}, "qalora"),
        ({"trainable_token_indices": [1]}, "trainable_tokens"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"r": 0}, "rank"),
        ({"r": None}, "rank"),
        ({"r": True}, "rank"),
        ({"r": 17}, "rank_too_high"),
        ({"lora_alpha": 0}, "alpha"),
        ({"lora_alpha": -1}, "alpha"),
        ({"lora_alpha": None}, "alpha"),
        ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern"),
        ({"alpha_pattern": [1]}, "alpha_pattern"),
        ({"target_modules": None}, "target_modules"),
        ({"target_modules": ["q_proj", "lm_head"]}, "target_modules"),
        ({"target_modules": ["embed_tokens"]}, "target_modules"),
        ({"layers_to_transform": "0"}, "layers_to_transform"),
        ({"base_model_name_or_path": "someone/else"}, "base_mismatch"),
        ({"base_model_name_or_path": None}, "base_unknown"),
        ({"r": 8}, "rank_mismatch"),
        ({"r": 2}, "rank_mismatch"),
        ({"lora_alpha": 1e9}, "out_of_range"),
        ({"target_modules": ["q_proj"]}, "unannounced"),
        ({"layers_to_transform": [0]}, "unannounced"),
    ],
)
def test_configurations_that_cannot_be_served(tmp_path: Path, base: Path, config: dict[str, Any], code: str) -> None:
    """What adapter_config.json alone gives away, or contradicts the weights in."""
    assert codes(make_adapter(tmp_path / "a", **config), base) == {code}


def put(tensors: Tensors, name: str, values: Callable[[list[float]], list[float]]) -> Tensors:
    dtype, shape, raw = tensors[name]
    old = list(struct.unpack(f"<{math.prod(shape)}f", raw))
    return {**tensors, name: (dtype, shape, floats(values(old)))}


def without(tensors: Tensors, part: str) -> Tensors:
    return {k: v for k, v in tensors.items() if part not in k}


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {k.replace(old, new): v for k, v in tensors.items()}


def transposed(tensors: Tensors) -> Tensors:
    return {k: (dtype, shape[::-1], raw) for k, (dtype, shape, raw) in tensors.items()}


def swapped(tensors: Tensors) -> Tensors:
    return {k.replace("lora_A", "x").replace("lora_B", "lora_A").replace("x", "lora_B"): v for k, v in tensors.items()}


SMALLER = {k: (a // 2, b // 2) for k, (a, b) in SHAPES.items()}
ZERO_B = {k: (d, s, bytes(len(raw))) if "lora_B" in k else (d, s, raw) for k, (d, s, raw) in lora().items()}


@pytest.mark.parametrize(
    ("tensors", "code"),
    [
        (lora(shapes=SMALLER), "shape"),  # a smaller base of the same architecture: vLLM puts it into a corner
        (lora(shapes={**SHAPES, "down_proj": (16, 20), "up_proj": (20, 16), "gate_proj": (20, 16)}), "shape"),
        (lora(layers=LAYERS + 1), "shape"),
        (lora(layers=LAYERS - 1), "incomplete"),
        ({**lora(), "base_model.model.model.layers.99.mlp.up_proj.lora_A.weight": lora()[Q + ".lora_A.weight"]}, "pair_incomplete"),
        (put(lora(), DOWN + ".lora_B.weight", lambda v: [math.nan, *v[1:]]), "not_finite"),
        (put(lora(), DOWN + ".lora_A.weight", lambda v: [*v[:-1], math.inf]), "not_finite"),
        (lora(size=1e3), "out_of_range"),
        ({k: ("I8", s, bytes(math.prod(s))) for k, (_, s, _raw) in lora().items()}, "dtype"),
        (ZERO_B, "no_effect"),
        (renamed(lora(), "base_model.model.model.", "base_model.model.transformer."), "unknown_weights"),
        (renamed(lora(), ".lora_A.weight", ".lora_A.default.weight"), "unknown_weights"),
        ({**lora(), "base_model.model.model.embed_tokens.lora_A.weight": ("F32", (1,), floats([1.0]))}, "embeddings"),
        (renamed(lora(), "up_proj", "w_unknown"), "target_modules"),
        (without(lora(), Q + ".lora_A"), "pair_incomplete"),
        (without(lora(), Q + ".lora_B"), "pair_incomplete"),
        (without(lora(), Q), "incomplete"),
        ({**lora(), Q + ".lora_A.weight": ("F32", (64,), floats([0.1] * 64))}, "shape"),
        ({}, "weights_empty"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, base: Path, tensors: Tensors, code: str) -> None:
    """What only the weights give away: other sizes, other depth, NaN, wrong names, missing halves, no effect."""
    assert code in codes(make_adapter(tmp_path / "a", tensors), base)


@pytest.mark.parametrize("tensors", [transposed(lora()), swapped(lora()), lora(rank=8), lora(rank=64)])
def test_weights_of_another_rank_or_way_round(tmp_path: Path, base: Path, tensors: Tensors) -> None:
    """Transposed, A and B swapped, or of another rank than the configuration says."""
    assert "rank_mismatch" in codes(make_adapter(tmp_path / "a", tensors), base)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda d: (d / "adapter_config.json").unlink(), "config_missing"),
        (lambda d: (d / "adapter_config.json").write_text("{"), "config_damaged"),
        (lambda d: (d / "adapter_config.json").write_text("[]"), "config_damaged"),
        (lambda d: (d / "adapter_model.safetensors").unlink(), "weights_missing"),
        (lambda d: (d / "adapter_model.safetensors").write_bytes((d / "adapter_model.safetensors").read_bytes()[:3000]), "weights_damaged"),
        (lambda d: (d / "adapter_model.safetensors").write_bytes(b""), "weights_damaged"),
        (lambda d: (d / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"z": 0}}})), "tokenizer_mismatch"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "tokenizer_damaged"),
        (lambda d: (d / "chat_template.jinja").write_text("{{ other }}"), "template_mismatch"),
        (lambda d: (d / "breakeven.json").write_text("{"), "manifest_damaged"),
        (lambda d: (d / "breakeven.json").write_text("[]"), "manifest_damaged"),
        (lambda d: (d / "breakeven.json").write_text(json.dumps({"base": {"name": "x"}})), "manifest_damaged"),
        (lambda d: (d / "breakeven.json").write_text(json.dumps({"files": {"adapter_config.json": "0"}})), "manifest_mismatch"),
        (lambda d: (d / "breakeven.json").write_text(json.dumps({"files": {"gone.json": "0"}})), "manifest_mismatch"),
    ],
)
def test_files_that_are_missing_damaged_or_of_another_base(tmp_path: Path, base: Path, spoil: Callable[[Path], object], code: str) -> None:
    """Each file that is not as it should be is its own reason."""
    adapter = make_adapter(tmp_path / "a")
    spoil(adapter)
    assert codes(adapter, base) == {code}


def test_the_same_tokenizer_saved_along_is_fine(tmp_path: Path, base: Path) -> None:
    """Trainers save tokenizer and template beside the adapter; equal ones pass, and so does the unknown rest."""
    adapter = make_adapter(tmp_path / "a")
    (adapter / "tokenizer.json").write_text(json.dumps(TOKENIZER, indent=2))
    (adapter / "chat_template.jinja").write_text(TEMPLATE + "\n")
    (adapter / "README.md").write_text("made elsewhere")
    assert codes(adapter, base) == set()


def with_manifest(adapter: Path, base: dict[str, Any]) -> Path:
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in adapter.iterdir()}
    (adapter / "breakeven.json").write_text(json.dumps({"format": 1, "base": base, "files": files}))
    return adapter


def test_the_trainers_manifest_outranks_names(tmp_path: Path, base: Path) -> None:
    """With hashes of the very base the name in adapter_config.json does not matter; with hashes of another one it does not help."""
    same = with_manifest(make_adapter(tmp_path / "a", base_model_name_or_path="anything"), identity(base).as_dict())
    found = judge(same, base)
    assert found.reasons == ()
    assert found.manifest["format"] == 1
    other = make_base(tmp_path / "other")
    safetensors(other / "model.safetensors", {"w": ("F32", (2,), floats([0.1, 0.2]))})
    (other / "chat_template.jinja").write_text("other")
    change(other / "tokenizer.json", lambda body: body.update(added_tokens=[]))
    wrong = with_manifest(make_adapter(tmp_path / "b"), identity(other).as_dict())
    assert codes(wrong, base) == {"base_mismatch", "tokenizer_mismatch", "template_mismatch"}
    assert "whose weights differ" in judge(wrong, base).reasons[0].message


def test_sizes_are_bounded(tmp_path: Path, base: Path) -> None:
    """Weights beyond the limit are not even opened."""
    assert codes(make_adapter(tmp_path / "a"), base, Limits(max_rank=16, max_bytes=100)) == {"too_large"}
    assert "rank_too_high" in codes(make_adapter(tmp_path / "b", lora(rank=16), r=16), base, Limits(max_rank=8))


def test_without_the_base_shapes_are_unchecked_and_said_so(tmp_path: Path) -> None:
    """For an engine that someone else runs the rest is still checked."""
    found = judge(make_adapter(tmp_path / "a"), None)
    assert found.reasons == ()
    assert {name for name, said in found.checks.items() if said.startswith("unchecked")} == {"base", "tokenizer", "shapes"}
    assert codes(make_adapter(tmp_path / "b", ZERO_B), None) == {"no_effect"}


def test_every_reason_says_what_to_do(tmp_path: Path, base: Path) -> None:
    """All that is wrong is told at once, with message and remedy, and long lists are cut."""
    found = judge(make_adapter(tmp_path / "a", lora(shapes=SMALLER, rank=64), use_dora=True, peft_type="IA3", lora_alpha=0, base_model_name_or_path="x"), base)
    assert {r.code for r in found.reasons} == {"dora", "peft_type", "alpha"}
    more = judge(make_adapter(tmp_path / "b", lora(shapes=SMALLER, rank=64), base_model_name_or_path="x"), base)
    assert {r.code for r in more.reasons} == {"base_mismatch", "rank_too_high", "rank_mismatch", "shape"}
    assert all(reason.message and reason.remedy for reason in (*found.reasons, *more.reasons))
    assert "and 11 more" in next(r.message for r in more.reasons if r.code == "shape")
