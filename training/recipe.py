"""The recipe of a training run: a short YAML file, checked whole before anything is loaded.

Public: `load(path, environ) -> Recipe` (raises ConfigError with every problem, file:line), `Recipe`, `DEFAULTS` (each default and where it comes from).
What vLLM cannot serve is refused here, before hours are spent. Not here: the dataset (dataset.py), training (train.py).

    name: support-triage
    base: Qwen/Qwen2.5-7B-Instruct        # a directory or a Hugging Face id
    data: tickets.jsonl                   # a JSONL file, a built dataset directory, or {route: support-triage}
    quantization: nf4                     # none | nf4
    lora: {r: 16, alpha: 32, dropout: 0.0, target_modules: all-linear, rslora: false}
    train: {epochs: 3, batch_size: 16, gradient_accumulation: 1, learning_rate: 2.0e-4, max_length: 2048, packing: false, seed: 0}
    output: adapters/support-triage
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo

from gateway.config import document, problems
from gateway.config.section import Section
from gateway.config.values import Count, FilePath, ModelOrDirectory, Name, Whole, absolute
from router.errors import ConfigError, Problem
from router.naming import NAME_PATTERN

# key -> (value, where it comes from); printed by `breakeven train --help` and asserted to be what the sections below use
DEFAULTS: Mapping[str, tuple[object, str]] = {
    "quantization": ("none", "16-bit LoRA is the safer choice; nf4 where the base does not fit (QLoRA, Dettmers et al. 2023)"),
    "lora.r": (16, "enough for post-training sets of this size (LoRA Without Regret, Schulman et al. 2025); served by vLLM's default of at most 16"),
    "lora.alpha": (None, "2 x r, the usual scaling in PEFT's and axolotl's examples"),
    "lora.dropout": (0.0, "no gain found at these sizes (LoRA Without Regret); also makes steps cheaper"),
    "lora.target_modules": ("all-linear", "attention alone loses quality at equal parameters (QLoRA paper, section 4; LoRA Without Regret)"),
    "train.epochs": (3, "OpenAI's automatic choice for sets below 1,000 examples"),
    "train.batch_size": (16, "LoRA loses more than full fine-tuning at large batches (LoRA Without Regret)"),
    "train.learning_rate": (2e-4, "QLoRA paper's value for 7B and 13B; about ten times that of full fine-tuning"),
    "train.max_length": (2048, "longer examples are refused by line, never cut"),
}

_UNSERVABLE = {
    "dora": "vLLM does not serve DoRA",
    "use_dora": "vLLM does not serve DoRA",
    "bias": "vLLM does not serve trained biases",
    "modules_to_save": "vLLM does not serve whole modules beside a LoRA",
    "trainable_token_indices": "vLLM does not serve trained embeddings",
    "init_lora_weights": "PiSSA, OLoRA and similar starts change the base, which vLLM serves unchanged",
    "rank_pattern": "vLLM serves one rank per adapter",
    "alpha_pattern": "vLLM serves one alpha per adapter",
    "layers_to_transform": "is not supported: adapt every layer",
    "load_in_8bit": "8-bit bases are not supported: use `quantization: nf4`",
    "load_in_4bit": "is written `quantization: nf4` here",
}
_UNSERVABLE_MODULES = ("lm_head", "embed_tokens", "wte", "embed_out")
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")


@dataclass(frozen=True, slots=True)
class RouteData:
    """Train on the captured traffic of a route."""

    route: str


def _name(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN, value):
        raise ValueError("must begin with a letter or digit and hold only letters, digits, dots, - and _ (at most 63)")
    return value


def _data(value: object, info: ValidationInfo) -> object:
    if isinstance(value, Mapping):
        route = value.get("route")
        if set(value) != {"route"} or not isinstance(route, str) or not route:
            raise ValueError("must be a JSONL file or {route: NAME}")
        return RouteData(route)
    if not isinstance(value, str) or not value:
        raise ValueError("must be a JSONL file or {route: NAME}")
    return absolute(value, (info.context or {}).get("root", Path()))


def _modules(value: object) -> object:
    if value == "all-linear":
        return value
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and _MODULE.fullmatch(n) for n in names):
        raise ValueError("must be all-linear or a list of module names such as [q_proj, v_proj]")
    wrong = sorted({n for n in names if n.rsplit(".", 1)[-1] in _UNSERVABLE_MODULES})
    if wrong:
        raise ValueError(f"holds {', '.join(wrong)}, which vLLM cannot serve as LoRA: leave it out")
    return tuple(sorted(set(names)))


class Lora(Section):
    """The shape of the adapter. `alpha` None means 2 x r."""

    r: Annotated[Count, Field(le=512)] = 16
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Annotated[tuple[str, ...] | Literal["all-linear"], BeforeValidator(_modules)] = "all-linear"
    rslora: bool = False

    @property
    def scale(self) -> float:
        """PEFT's `lora_alpha`."""
        return 2.0 * self.r if self.alpha is None else self.alpha


class Train(Section):
    """How long and how fast. `max_length` is in tokens; an example longer than that is a problem, not something to cut."""

    epochs: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 3.0
    batch_size: Count = 16
    gradient_accumulation: Count = 1
    learning_rate: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 2e-4
    max_length: Annotated[Count, Field(ge=16)] = 2048
    packing: bool = False
    seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0


class Recipe(Section):
    """One training run. Relative paths are resolved against the recipe's directory. `base` is a directory's absolute path or a Hugging Face id."""

    name: Annotated[Name, AfterValidator(_name)]
    base: ModelOrDirectory
    data: Annotated[Path | RouteData, BeforeValidator(_data)]
    quantization: Literal["none", "nf4"] = "none"
    lora: Lora = Field(default_factory=Lora)
    train: Train = Field(default_factory=Train)
    output: FilePath

    def settings(self) -> dict[str, Any]:
        """What decides the weights: everything but where it is read from and written to. Recorded with the adapter and compared on resume."""
        lora = {**self.lora.model_dump(mode="json"), "alpha": self.lora.scale}
        return {"quantization": self.quantization, "lora": lora, "train": self.train.model_dump(mode="json")}


def load(path: Path, environ: Mapping[str, str]) -> Recipe:
    """Read a recipe. Raises ConfigError with every problem and its line."""
    read = document.read(path, environ)
    found = [((fault.line, fault.column), Problem(fault.message, read.file, fault.line or None)) for fault in read.faults]
    recipe: Recipe | None = None
    if read.data:
        try:
            recipe = Recipe.model_validate(read.data, context={"root": path.resolve().parent})
        except ValidationError as error:
            for loc, message in problems.shape(read, Recipe, error):
                known = _UNSERVABLE.get(str(loc[-1])) if loc else None
                found.append(read.problem(loc, f"{known}; remove it" if known else message))
    if found or recipe is None:
        ordered = tuple(problem for _, problem in sorted(found, key=lambda item: item[0]))
        raise ConfigError(f"{path}: {len(ordered)} problem(s) in the recipe; nothing was started", ordered)
    return recipe
