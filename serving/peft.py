"""An adapter_config.json as PEFT writes it: what of it can be served, and the numbers the other checks need. Foreign keys are ignored, odd ones refused."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from router.errors import Reason
from serving import documents
from serving.base import MODULES

# Initialisations that only choose the first weights; all others change the base model's own weights while they train.
PLAIN_INITS = frozenset({"gaussian", "eva", "orthogonal"})
_N = TypeVar("_N", int, float)
_SAVE_AGAIN = "save the adapter with PEFT's save_pretrained"
# Features whose presence changes what an adapter computes, and what to do instead.
_FEATURES = {
    "use_dora": ("dora", "DoRA cannot be served", "train with use_dora: false"),
    "lora_bias": ("bias", "a LoRA bias cannot be served", "train with lora_bias: false"),
    "modules_to_save": ("modules_to_save", "whole modules beside the LoRA cannot be served", "train without modules_to_save"),
    "fan_in_fan_out": ("fan_in_fan_out", "fan_in_fan_out is for Conv1D bases and would be ignored", "train on a base with linear layers"),
    "alora_invocation_tokens": ("alora", "activated LoRA cannot be served", "train a plain LoRA"),
    "layer_replication": ("layer_replication", "layer replication cannot be served", "train a plain LoRA"),
    "use_bdlora": ("bdlora", "block-diagonal LoRA cannot be served", "train a plain LoRA"),
    "use_qalora": ("qalora", "QALoRA cannot be served", "train a plain LoRA"),
    "trainable_token_indices": ("trainable_tokens", "trained token embeddings cannot be served", "train without trainable_token_indices"),
    "target_parameters": ("target_parameters", "LoRA on bare parameters cannot be served", "use target_modules"),
    "arrow_config": ("variant", "Arrow routing between adapters cannot be served", "train a plain LoRA"),
    "kasa_config": ("variant", "KaSA cannot be served", "train a plain LoRA"),
    "monteclora_config": ("variant", "MonteCLoRA cannot be served", "train a plain LoRA"),
}
_SWITCHES = ("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "use_bdlora")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """A configuration that can be served. `targets` is empty where modules were given as a pattern, `layers` is empty for all layers; `excluded` are modules
    that were left out by name, `revision` is the base's where one was named."""

    rank: int
    alpha: float
    rslora: bool
    base_name: str | None
    targets: frozenset[str]
    layers: tuple[int, ...]
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    excluded: frozenset[str] = frozenset()
    revision: str | None = None

    def rank_of(self, module: str) -> int:
        """The rank of a module such as `model.layers.0.mlp.up_proj`."""
        return _match(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """What B·A is multiplied by."""
        rank, alpha = self.rank_of(module), _match(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)

    def excludes(self, module: str) -> bool:
        """Whether a module such as `model.layers.0.mlp.up_proj` was left out by name: PEFT's rule, the whole name or its end at a dot."""
        return any(module == name or module.endswith("." + name) for name in self.excluded)


def read_config(path: Path, max_rank: int) -> tuple[PeftConfig | None, list[Reason]]:
    """The configuration, or every reason why it cannot be served."""
    if not path.is_file():
        return None, [Reason("config_missing", f"there is no {path.name}", _SAVE_AGAIN)]
    try:
        body = documents.read(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        return None, [Reason("config_damaged", f"{path.name} is not JSON that can be trusted: {error}", _SAVE_AGAIN)]
    if not isinstance(body, dict):
        return None, [Reason("config_damaged", f"{path.name} is not a JSON object", _SAVE_AGAIN)]
    reasons = [*_features(body), *_numbers(body, max_rank), *_targets(body)]
    return (None, reasons) if reasons else (_config(body), [])


def _features(body: Mapping[str, Any]) -> Iterator[Reason]:
    if body.get("peft_type") != "LORA":
        yield Reason("peft_type", f"peft_type is {body.get('peft_type')!r}; only LORA is served", "train a LoRA")
    for key, (code, message, remedy) in _FEATURES.items():
        if body.get(key):
            yield Reason(code, message, remedy)
    for key in _SWITCHES:
        if not isinstance(body.get(key), bool | None):
            yield Reason("config_type", f"{key} is {body[key]!r}; it must be true or false", _SAVE_AGAIN)
    if body.get("bias", "none") != "none":
        yield Reason("bias", f"bias {body['bias']!r} cannot be served", "train with bias: none")
    init = body.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        remedy = "convert it with save_pretrained(path_initial_model_for_weight_conversion=...), or train with the default initialisation"
        yield Reason("init", f"init_lora_weights {init!r} changes the base model's own weights", remedy)


def _numbers(body: Mapping[str, Any], max_rank: int) -> Iterator[Reason]:
    rank, alpha = body.get("r"), body.get("lora_alpha")
    if not _positive(rank) or not isinstance(rank, int):
        yield Reason("rank", f"r is {rank!r}; it must be a positive integer", _SAVE_AGAIN)
    elif rank > max_rank:
        yield Reason("rank_too_high", f"r is {rank}, the engine takes up to {max_rank}", "train with a lower rank, or raise engines.X.max_lora_rank")
    if not _positive(alpha):
        yield Reason("alpha", f"lora_alpha is {alpha!r}; it must be a positive number", "train with lora_alpha of about twice the rank")
    for key in ("rank_pattern", "alpha_pattern"):
        pattern = body.get(key) or {}
        if not isinstance(pattern, dict) or not all(_positive(v) and _plain(k) for k, v in pattern.items()):
            yield Reason(key, f"{key} must map module names to positive numbers", _SAVE_AGAIN)


def _targets(body: Mapping[str, Any]) -> Iterator[Reason]:
    targets = body.get("target_modules")
    if isinstance(targets, str) and targets:
        return
    if not isinstance(targets, list) or not targets or not all(isinstance(name, str) for name in targets):
        yield Reason("target_modules", f"target_modules is {targets!r}; it must list module names", _SAVE_AGAIN)
        return
    wrong = sorted({name.rpartition(".")[2] for name in targets} - set(MODULES))
    if wrong:
        yield Reason("target_modules", f"modules that cannot be served: {', '.join(wrong[:5])}", f"train {', '.join(MODULES)} only")
    layers = body.get("layers_to_transform")
    if layers is not None and not all(type(layer) is int for layer in (layers if isinstance(layers, list) else [layers])):
        yield Reason("layers_to_transform", "layers_to_transform must be a layer or a list of layers", _SAVE_AGAIN)
    excluded = body.get("exclude_modules") or []
    if not isinstance(excluded, list) or not all(isinstance(name, str) for name in excluded):
        yield Reason("exclude_modules", "exclude_modules must list module names: a pattern of someone else is not run here", "train with a list of names")


def _config(body: Mapping[str, Any]) -> PeftConfig:
    targets, layers = body["target_modules"], body.get("layers_to_transform")
    name, revision = body.get("base_model_name_or_path"), body.get("revision")
    return PeftConfig(
        rank=body["r"],
        alpha=float(body["lora_alpha"]),
        rslora=bool(body.get("use_rslora")),
        base_name=name if isinstance(name, str) and name else None,
        targets=frozenset() if isinstance(targets, str) else frozenset(name.rpartition(".")[2] for name in targets),
        layers=() if layers is None else (layers,) if isinstance(layers, int) else tuple(layers),
        ranks={_bare(key): value for key, value in (body.get("rank_pattern") or {}).items()},
        alphas={_bare(key): value for key, value in (body.get("alpha_pattern") or {}).items()},
        excluded=frozenset(body.get("exclude_modules") or ()),
        revision=None if revision in (None, "", "main") else str(revision),
    )


def _match(pattern: Mapping[str, _N], module: str, default: _N) -> _N:
    """PEFT's rule: the first key that is a suffix of the module's name at a dot."""
    return next((value for key, value in pattern.items() if module == key or module.endswith("." + key)), default)


def _bare(key: str) -> str:
    """`^model\\.layers\\.0$` as a plain name."""
    return key.replace("\\", "").removeprefix("^").removesuffix("$")


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _plain(key: object) -> bool:
    """Patterns from outside are matched as plain names, never run as regular expressions."""
    return isinstance(key, str) and re.fullmatch(r"[\w.^$\\]+", key) is not None
