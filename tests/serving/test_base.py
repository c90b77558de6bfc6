"""Claims about the identity of a base model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.errors import DataError
from serving.base import from_dict, identify, locate, template_hash, tokenizer_hash
from tests.serving.making import SHAPES, TEMPLATE, TOKENIZER, change, floats, make_base, safetensors


def test_the_shapes_follow_from_the_config(tmp_path: Path) -> None:
    """Seven projections with out and in sizes; grouped keys and an explicit head size count."""
    assert dict(identify(make_base(tmp_path / "a")).shapes) == SHAPES
    wide = identify(make_base(tmp_path / "b", head_dim=8, num_key_value_heads=None))
    assert wide.shapes["q_proj"] == (32, 16)
    assert wide.shapes["k_proj"] == (32, 16)
    assert wide.shapes["o_proj"] == (16, 32)


def test_an_unknown_architecture_has_no_shapes(tmp_path: Path) -> None:
    """What cannot be checked is not guessed."""
    assert identify(make_base(tmp_path / "a", model_type="mamba")).shapes == {}


def test_saving_a_model_again_keeps_its_identity(tmp_path: Path) -> None:
    """Library versions, dtypes and the way merges are written do not change who it is."""
    one, two = make_base(tmp_path / "one"), make_base(tmp_path / "two", transformers_version="9", dtype="bfloat16")
    change(two / "tokenizer.json", lambda body: body["model"].update(merges=[["a", "b"]]))
    (two / "chat_template.jinja").write_text("{% generation %}" + TEMPLATE + "{%- endgeneration -%}\n")
    left, right = identify(one, "m"), identify(two, "m")
    assert left == right


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        ("config", lambda d: change(d / "config.json", lambda body: body.update(rope_theta=1))),
        ("tokenizer", lambda d: change(d / "tokenizer.json", lambda body: body["model"]["vocab"].update(c=9))),
        ("tokenizer", lambda d: change(d / "tokenizer.json", lambda body: body.update(added_tokens=[]))),
        ("template", lambda d: (d / "chat_template.jinja").write_text("other")),
        ("weights", lambda d: safetensors(d / "model.safetensors", {"w": ("F32", (2,), floats([0.5, 0.26]))})),
    ],
)
def test_what_matters_changes_the_identity(tmp_path: Path, part: str, edit: object) -> None:
    """Config, vocabulary, template and weights each have their own hash."""
    one, two = make_base(tmp_path / "one"), make_base(tmp_path / "two")
    edit(two)  # type: ignore[operator]
    left, right = identify(one, "m"), identify(two, "m")
    assert {name for name in ("config", "tokenizer", "template", "weights") if getattr(left, name) != getattr(right, name)} == {part}


def test_large_weights_are_sampled_at_both_ends(tmp_path: Path) -> None:
    """A change in the first or last MiB of a large file is seen."""
    base = make_base(tmp_path / "a")
    zeros = bytearray(3 << 20)
    safetensors(base / "model.safetensors", {"w": ("U8", (len(zeros),), bytes(zeros))})
    first = identify(base).weights
    zeros[-1] = 1
    safetensors(base / "model.safetensors", {"w": ("U8", (len(zeros),), bytes(zeros))})
    assert identify(base).weights != first


def test_templates_live_in_two_places(tmp_path: Path) -> None:
    """A template inside tokenizer_config.json is the same template; a model may have none."""
    base = make_base(tmp_path / "a")
    separate = template_hash(base)
    (base / "chat_template.jinja").unlink()
    assert template_hash(base) is None
    (base / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert template_hash(base) == separate
    (base / "tokenizer_config.json").write_text(json.dumps({"chat_template": None}))
    assert template_hash(base) is None


def test_manifests_read_back(tmp_path: Path) -> None:
    """An identity survives JSON; a damaged one says so."""
    made = identify(make_base(tmp_path / "a"))
    body = json.loads(json.dumps(made.as_dict()))
    assert from_dict(body) == made
    for wrong in (
        {**body, "config": 3},
        {k: v for k, v in body.items() if k != "weights"},
        {**body, "layers": "x"},
        {**body, "shapes": {"q": [1]}},
        {**body, "template": 5},
    ):
        with pytest.raises(DataError, match="publish the adapter again"):
            from_dict(wrong)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json is missing"),
        (lambda d: (d / "config.json").write_text("{"), "cannot be read"),
        (lambda d: (d / "config.json").write_text("[]"), "must hold a JSON object"),
        (lambda d: (d / "model.safetensors").unlink(), "no .safetensors weights"),
        (lambda d: change(d / "config.json", lambda body: body.pop("hidden_size")), "lacks a size"),
    ],
)
def test_incomplete_models_say_what_is_missing(tmp_path: Path, spoil: object, said: str) -> None:
    """Each missing or damaged file is named."""
    base = make_base(tmp_path / "a")
    spoil(base)  # type: ignore[operator]
    with pytest.raises(DataError, match=said):
        identify(base)


def test_models_are_found_in_the_hub_cache(tmp_path: Path) -> None:
    """A directory is itself; an id is looked up where Hugging Face keeps it; what is not there is None."""
    base = make_base(tmp_path / "models--Qwen--Tiny" / "snapshots" / "abc")
    refs = tmp_path / "models--Qwen--Tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc\n")
    assert locate("Qwen/Tiny", tmp_path) == base
    assert locate(str(base), tmp_path) == base
    assert locate("Qwen/Other", tmp_path) is None
    (refs / "main").write_text("gone")
    assert locate("Qwen/Tiny", tmp_path) is None


def test_a_model_without_tokenizer_json(tmp_path: Path) -> None:
    """There is nothing to hash."""
    assert tokenizer_hash(tmp_path) is None
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    assert tokenizer_hash(tmp_path) is not None
