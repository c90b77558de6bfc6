"""An axolotl configuration as a recipe of ours: the common keys carried over, what cannot be served refused, what has no meaning here named.

Public: `convert(read) -> Converted` (raises ConfigError with every problem and its line), `is_axolotl(data)`. Keys as in axolotl's configuration reference
(docs.axolotl.ai). Pure; reading the file is gateway/config/document.py, checking the result recipe.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config.document import Document
from router.errors import ConfigError, Problem
from training.recipe import DEFAULTS

# key there -> key here
_SAME = {
    "base_model": "base",
    "lora_r": "lora.r",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "peft_use_rslora": "lora.rslora",
    "num_epochs": "train.epochs",
    "micro_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.gradient_accumulation",
    "learning_rate": "train.learning_rate",
    "sequence_len": "train.max_length",
    "sample_packing": "train.packing",
    "seed": "train.seed",
    "output_dir": "output",
}
_READ = {"adapter", "load_in_4bit", "load_in_8bit", "lora_target_modules", "lora_target_linear", "datasets"}
# key -> (the values that may stand there, why others may not)
_REFUSED: Mapping[str, tuple[tuple[object, ...], str]] = {
    "peft_use_dora": ((False, None), "vLLM does not serve DoRA; remove it, or use peft_use_rslora"),
    "lora_modules_to_save": (([], None), "vLLM does not serve whole modules beside a LoRA; remove it"),
    "lora_fan_in_fan_out": ((False, None), "is for GPT-2's Conv1D layers, which are not supported"),
    "peft_init_lora_weights": ((True, None), "PiSSA, OLoRA and similar starts change the base, which vLLM serves unchanged; remove it"),
    "peft_layers_to_transform": ((None,), "is not supported: every layer is adapted; remove it"),
    "rl": ((None,), "preference training is not supported: leave `rl` out and train on the chosen answers"),
    "train_on_inputs": ((False, None), "learning the questions is not supported: only answers are learnt; set it to false"),
    "load_in_8bit": ((False, None), "8-bit bases are not supported; use adapter: qlora with load_in_4bit: true"),
    "lora_model_dir": ((None,), "going on from another adapter is not supported: its base would not be the one that is served"),
}
# How the answers are told from the questions. The base's own template is always the one that is served.
_CHAT_TYPES = ("chat_template", "sharegpt", None)


@dataclass(frozen=True, slots=True)
class Converted:
    """`recipe` is what to write as YAML; `notes` say what was left out or chosen on the way."""

    recipe: dict[str, Any]
    notes: tuple[str, ...]


def is_axolotl(data: Mapping[str, object]) -> bool:
    """Whether a YAML file is axolotl's: ours has `base`, theirs `base_model`."""
    return "base_model" in data and "base" not in data


def convert(read: Document) -> Converted:
    """The recipe that does the same. Raises ConfigError with every problem; what the recipe's own rules say comes when it is read."""
    data = read.data
    found = [read.problem((key,), message) for key, (fine, message) in _REFUSED.items() if key in data and data[key] not in fine]
    notes: list[str] = []
    recipe: dict[str, Any] = {}
    for theirs, ours in _SAME.items():
        if data.get(theirs) is not None and (ours != "lora.rslora" or data[theirs]):
            _put(recipe, ours, data[theirs])
    kind = data.get("adapter")
    if kind not in ("lora", "qlora"):
        found.append(read.problem(("adapter",), "must be lora or qlora: whole models are not trained here"))
    if kind == "qlora" or data.get("load_in_4bit") is True:
        recipe["quantization"] = "nf4"
    modules = data.get("lora_target_modules")
    if data.get("lora_target_linear"):
        _put(recipe, "lora.target_modules", "all-linear")
    elif modules:
        _put(recipe, "lora.target_modules", modules)
    found += _data(read, recipe, notes)
    if "output" not in recipe:
        found.append(read.problem(("output_dir",), "is missing: say where the adapter goes"))
    if found:
        ordered = tuple(problem for _, problem in sorted(found, key=lambda item: item[0]))
        raise ConfigError(f"{read.file}: {len(ordered)} problem(s); no recipe was written", ordered)
    recipe["name"] = _name(str(recipe["output"]))
    left = sorted(key for key in data if key not in {*_SAME, *_READ, *_REFUSED})
    if left:
        notes.append(f"left out, they have no meaning here: {', '.join(left)}")
    notes += [f"{key} is not in the file and will be {value}: {why}" for key, value, why in _other_defaults(recipe)]
    order = ("name", "base", "data", "quantization", "lora", "train", "output")
    return Converted({key: recipe[key] for key in order if key in recipe}, tuple(notes))


def _data(read: Document, recipe: dict[str, Any], notes: list[str]) -> list[tuple[tuple[int, int], Problem]]:
    """The one JSONL file."""
    sets = read.data.get("datasets")
    if not isinstance(sets, list) or len(sets) != 1 or not isinstance(sets[0], Mapping):
        return [read.problem(("datasets",), "must be a list with one entry {path: FILE.jsonl, type: chat_template}; put several files into one")]
    entry, found = sets[0], []
    path = entry.get("path")
    if not isinstance(path, str) or not path.endswith((".jsonl", ".json")):
        found.append(read.problem(("datasets", 0, "path"), "must be a local JSONL file in OpenAI's chat format; nothing is fetched from a hub"))
    if entry.get("type") not in _CHAT_TYPES:
        found.append(read.problem(("datasets", 0, "type"), "only chat_template is supported: write the examples as {messages: [...]}"))
    if entry.get("field_messages") not in (None, "messages"):
        found.append(read.problem(("datasets", 0, "field_messages"), "must be messages: name the field of the conversation so"))
    if entry.get("type") == "sharegpt":
        notes.append("datasets: lines of the form {conversations: [{from, value}]} are not read; write {messages: [{role, content}]}")
    recipe["data"] = path
    return found


def _put(recipe: dict[str, Any], key: str, value: object) -> None:
    section, _, name = key.rpartition(".")
    (recipe.setdefault(section, {}) if section else recipe)[name] = value


def _name(output: str) -> str:
    """The adapter's name from where it goes."""
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(output).name).strip("._-")
    return kept[:63] or "adapter"


def _other_defaults(recipe: Mapping[str, Any]) -> list[tuple[str, object, str]]:
    """What the file did not say and where the two programs may differ."""
    said = {*recipe, *(f"{section}.{key}" for section in ("lora", "train") for key in recipe.get(section, {}))}
    return [(key, *DEFAULTS[key]) for key in ("lora.r", "train.epochs", "train.learning_rate", "train.max_length") if key not in said]
