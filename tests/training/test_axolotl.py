"""training/axolotl.py, training/before.py: axolotl's files as recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import document
from router.errors import ConfigError, StateError
from training import axolotl, before, recipe

GOOD = """
base_model: Qwen/Qwen2.5-7B-Instruct
load_in_4bit: true
adapter: qlora
datasets:
  - path: tickets.jsonl
    type: chat_template
val_set_size: 0.05
output_dir: ./outputs/triage
sequence_len: 1024
sample_packing: true
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
peft_use_rslora: true
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 2
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 0.0003
bf16: auto
seed: 7
wandb_project: x
"""


def test_a_usual_file_is_a_valid_recipe(tmp_path: Path) -> None:
    """Every common key is carried over, the rest is named, and the result reads back."""
    (tmp_path / "a.yml").write_text(GOOD)
    found = before.imported(tmp_path / "a.yml", tmp_path / "recipe.yaml")
    assert "bf16, lr_scheduler, optimizer, val_set_size, wandb_project" in found["notes"][0]
    made = recipe.load(tmp_path / "recipe.yaml", {})
    assert (made.name, made.base, made.quantization) == ("triage", "Qwen/Qwen2.5-7B-Instruct", "nf4")
    assert (made.data, made.output) == (tmp_path / "tickets.jsonl", tmp_path / "outputs/triage")
    assert made.lora == recipe.Lora(r=32, alpha=16, dropout=0.05, target_modules="all-linear", rslora=True)
    assert made.train == recipe.Train(epochs=2, batch_size=2, gradient_accumulation=4, learning_rate=3e-4, max_length=1024, packing=True, seed=7)
    assert len((tmp_path / "recipe.yaml").read_text().splitlines()) <= 30
    with pytest.raises(StateError, match="exists"):
        before.imported(tmp_path / "a.yml", tmp_path / "recipe.yaml")


def test_named_modules_and_defaults_that_differ(tmp_path: Path) -> None:
    """Modules are taken by name; what the file leaves open is said."""
    (tmp_path / "a.yml").write_text(
        "base_model: b/c\nadapter: lora\nlora_target_modules: [q_proj, v_proj]\noutput_dir: /x/out\ndatasets: [{path: f.jsonl, type: sharegpt}]\n"
    )
    found = axolotl.convert(document.read(tmp_path / "a.yml", {}))
    assert found.recipe["lora"] == {"target_modules": ["q_proj", "v_proj"]}
    assert "quantization" not in found.recipe
    text = "\n".join(found.notes)
    assert "conversations" in text
    assert "train.epochs is not in the file and will be 3" in text


def test_everything_that_cannot_be_is_said_at_once(tmp_path: Path) -> None:
    """With its line."""
    path = tmp_path / "a.yml"
    path.write_text(
        "base_model: b/c\nadapter: null\npeft_use_dora: true\nrl: dpo\nlora_modules_to_save: [lm_head]\ndatasets: [{path: org/set, type: alpaca}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        before.imported(path, tmp_path / "r.yaml")
    assert [(p.line, p.key) for p in caught.value.problems] == [
        (1, "output_dir"),
        (2, "adapter"),
        (3, "peft_use_dora"),
        (4, "rl"),
        (5, "lora_modules_to_save"),
        (6, "datasets[0].path"),
        (6, "datasets[0].type"),
    ]
    assert not (tmp_path / "r.yaml").exists()


@pytest.mark.parametrize(
    ("text", "said"), [("base: x\n", "not an axolotl"), ("base_model: [\n", "problem"), ("base_model: b/c\nadapter: lora\noutput_dir: o\n", "one entry")]
)
def test_other_files(tmp_path: Path, text: str, said: str) -> None:
    """A recipe of ours, no YAML, no data."""
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        before.imported(tmp_path / "a.yml", tmp_path / "r.yaml")
    assert said in str(caught.value) + "".join(p.message for p in caught.value.problems)
    with pytest.raises(ConfigError):
        before.imported(tmp_path / "missing.yml", tmp_path / "r.yaml")
