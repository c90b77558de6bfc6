"""training/recipe.py: the YAML of a training run."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import ConfigError
from training import recipe
from training.recipe import Recipe, RouteData

GOOD = "name: triage\nbase: Qwen/Qwen2.5-7B-Instruct\ndata: f.jsonl\noutput: out/triage\n"


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Recipe:
    """A recipe from text."""
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return recipe.load(path, environ or {})


def problems(tmp_path: Path, text: str) -> list[tuple[int | None, str | None, str]]:
    """(line, key, message) of each problem."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [(p.line, p.key, p.message) for p in caught.value.problems]


def test_a_short_recipe_has_the_stated_defaults(tmp_path: Path) -> None:
    """Four keys are enough; every default is the one that DEFAULTS gives a source for."""
    made = load(tmp_path, GOOD)
    assert made.data == tmp_path / "f.jsonl"
    assert made.output == tmp_path / "out/triage"
    assert made.base == "Qwen/Qwen2.5-7B-Instruct"
    for key, (value, source) in recipe.DEFAULTS.items():
        found: object = made
        for part in key.split("."):
            found = getattr(found, part)
        assert (found, bool(source)) == (value, True), key
    assert made.lora.scale == 32.0


def test_every_key_of_the_design_is_taken(tmp_path: Path) -> None:
    """All keys together, with a route as data, a directory as base and a variable."""
    (tmp_path / "base").mkdir()
    text = """
name: triage
base: ./base
data: {route: support-triage}
quantization: nf4
lora: {r: 8, alpha: 4, dropout: 0.05, target_modules: [v_proj, q_proj, q_proj], rslora: true}
train: {epochs: 0.5, batch_size: 2, gradient_accumulation: 4, learning_rate: 1.0e-4, max_length: 512, packing: true, seed: 3}
output: "${OUT}/x"
"""
    made = load(tmp_path, text, {"OUT": "here"})
    assert made.data == RouteData("support-triage")
    assert made.base == str(tmp_path / "base")
    assert made.output == tmp_path / "here/x"
    assert made.settings() == {
        "quantization": "nf4",
        "lora": {"r": 8, "alpha": 4.0, "dropout": 0.05, "target_modules": ["q_proj", "v_proj"], "rslora": True},
        "train": {
            "epochs": 0.5, "batch_size": 2, "gradient_accumulation": 4, "learning_rate": 1e-4, "max_length": 512, "packing": True, "seed": 3,
        },
    }  # fmt: skip
    assert load(tmp_path, GOOD + "lora: {target_modules: q_proj}\n").lora.target_modules == ("q_proj",)


def test_all_problems_come_at_once_with_their_lines(tmp_path: Path) -> None:
    """Unknown, duplicate, missing and wrong values are reported together, in the order of the file."""
    text = "name: a b\nbase: x/y\ndata: {rute: x}\nquantization: int8\nlora: {r: 0, alhpa: 3}\ntrain:\n  epochs: 0\n  epochs: 2\n  seed: -1\n"
    found = problems(tmp_path, text)
    assert [(line, key) for line, key, _ in found] == [
        (1, "name"), (1, "output"), (3, "data"), (4, "quantization"), (5, "lora.r"), (5, "lora.alhpa"), (7, "train.epochs"), (8, None), (9, "train.seed"),
    ]  # fmt: skip
    assert "did you mean 'alpha'" in found[5][2]


@pytest.mark.parametrize("key", ["dora: true", "bias: all", "modules_to_save: [lm_head]", "rank_pattern: {}", "load_in_8bit: true"])
def test_what_cannot_be_served_is_refused_before_training(tmp_path: Path, key: str) -> None:
    """Settings that vLLM cannot serve are refused with the reason."""
    [(line, where, message)] = problems(tmp_path, GOOD + f"lora:\n  {key}\n")
    assert (line, where) == (6, "lora." + key.split(":")[0])
    assert message.endswith("remove it")


@pytest.mark.parametrize(
    ("value", "said"),
    [("[q_proj, lm_head]", "vLLM cannot serve"), ("[]", "list of module names"), ("['a b']", "list of module names"), ("3", "list of module names")],
)
def test_target_modules(tmp_path: Path, value: str, said: str) -> None:
    """Heads and embeddings, empty lists and odd names are refused."""
    [(_, key, message)] = problems(tmp_path, GOOD + f"lora: {{target_modules: {value}}}\n")
    assert key == "lora.target_modules"
    assert said in message


@pytest.mark.parametrize("data", ["''", "[a]", "{route: 3}", "{route: x, since: y}"])
def test_data_is_a_file_or_a_route(tmp_path: Path, data: str) -> None:
    """Anything else is refused with both forms named."""
    [(_, key, message)] = problems(tmp_path, GOOD.replace("f.jsonl", data))
    assert key == "data"
    assert "{route: NAME}" in message


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    """A missing file, an empty one and broken YAML are configuration errors, too."""
    with pytest.raises(ConfigError, match="1 problem"):
        recipe.load(tmp_path / "absent.yaml", {})
    assert len(problems(tmp_path, "")) == 1
    assert "not valid YAML" in problems(tmp_path, "a: [")[0][2]
