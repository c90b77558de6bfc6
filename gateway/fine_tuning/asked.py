"""What a client asks of a fine-tuning job, checked: the body of `POST /v1/fine_tuning/jobs` as values, or OpenAI's answer to a wrong one. Pure.

Not here: whether the files exist and are the client's (endpoint.py), what is in them (the job's process reads them).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config.models import Config
from gateway.files import rules
from router.errors import RequestError

MOST_SEED = 2**31 - 1
_KEYS = ("model", "training_file", "validation_file", "suffix", "seed", "method", "hyperparameters", "integrations", "metadata", "local")
_LOCAL = ("lora", "quantization", "max_length", "gradient_accumulation")
_MOST_SUFFIX = 64
_AUTO = "auto"
# name -> (whole number, smallest, largest)
_BOUNDS: Mapping[str, tuple[bool, float, float]] = {
    "n_epochs": (True, 1, 50),
    "batch_size": (True, 1, 256),
    "learning_rate_multiplier": (False, 0.0, 100.0),
}
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Asked:
    """A create request that may be tried. `wishes` has every hyperparameter, "auto" where nothing was said; `local` is for the recipe alone."""

    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    wishes: Mapping[str, Any]
    local: Mapping[str, Any]
    metadata: dict[str, str] | None


def read(body: Mapping[str, Any], seed: int) -> Asked:
    """The request in a body; `seed` where it names none. RequestError 400 in OpenAI's words."""
    for name in body:
        if name not in _KEYS:
            raise RequestError(f"Unrecognized request argument supplied: {name[:100]}", param=name[:100])
    if body.get("integrations"):
        raise _unsupported(
            "integrations", f"this gateway reports to no integration ({_types(body['integrations'])}); leave it out, the numbers are in the events"
        )
    suffix = _text(body, "suffix")
    if suffix is not None and not 1 <= len(suffix) <= _MOST_SUFFIX:
        raise _wrong("suffix", f"it must have 1 to {_MOST_SUFFIX} characters")
    given = body.get("seed")
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= MOST_SEED):
        raise _wrong("seed", f"it must be a whole number from 0 to {MOST_SEED}")
    return Asked(
        model=_needed(body, "model"),
        training_file=_needed(body, "training_file"),
        validation_file=_text(body, "validation_file"),
        suffix=suffix,
        seed=seed if given is None else given,
        wishes=_wishes(body),
        local=_local(body.get("local")),
        metadata=rules.labels(body.get("metadata")),
    )


def engine_of(config: Config, model: str) -> str:
    """The engine whose base a job names: an alias, an engine's name, or the very model an engine serves. RequestError 400 where nothing stands for it.

    OpenAI's dated names mean the same as the undated: `gpt-4o-mini-2024-07-18` is `gpt-4o-mini` where only that has an alias.
    """
    aliases = config.training.base_aliases
    found = aliases.get(model) or aliases.get(_DATED.sub("", model))
    if found is None and model in config.engines:
        found = model
    if found is None:
        found = next((name for name, engine in config.engines.items() if engine.model is not None and model in {engine.model, Path(engine.model).name}), None)
    if found is None or found not in config.engines:
        known = sorted({*aliases, *config.engines})
        message = f"Model {model[:200]} is not available for fine-tuning or does not exist."
        raise RequestError(f"{message} Available here: {', '.join(known) or 'none'}.", param="model", code="model_not_available")
    if config.engines[found].model is None:
        message = f"Model {model[:200]} is not available for fine-tuning: engines.{found} does not say which base it serves (`model`)."
        raise RequestError(message, param="model", code="model_not_available")
    return found


def _wishes(body: Mapping[str, Any]) -> dict[str, Any]:
    method = body.get("method")
    if method is None:
        return _hyperparameters(body.get("hyperparameters"), "hyperparameters")
    if not isinstance(method, Mapping) or not isinstance(method.get("type"), str):
        raise _wrong("method", 'it must look like {"type": "supervised", "supervised": {"hyperparameters": {…}}}')
    kind = method["type"]
    if kind in {"dpo", "reinforcement"}:
        raise _unsupported("method.type", f"{kind!r} is not trained here; use 'supervised'")
    if kind != "supervised":
        raise _wrong("method.type", "it must be 'supervised'")
    inner = method.get("supervised") or {}
    if not isinstance(inner, Mapping):
        raise _wrong("method.supervised", "it must be an object")
    given = inner.get("hyperparameters")
    if given is None:  # old clients send both
        return _hyperparameters(body.get("hyperparameters"), "hyperparameters")
    return _hyperparameters(given, "method.supervised.hyperparameters")


def _hyperparameters(value: object, place: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise _wrong(place, "it must be an object")
    given = dict(value or {})
    for name in given:
        if name not in _BOUNDS:
            raise _wrong(f"{place}.{name}", f"there is no such hyperparameter; there are {', '.join(_BOUNDS)}")
    return {name: _number(given.get(name), f"{place}.{name}", *bounds) for name, bounds in _BOUNDS.items()}


def _number(value: object, place: str, whole: bool, least: float, most: float) -> Any:
    if value is None or value == _AUTO:
        return _AUTO
    number = None if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) else value
    if number is None or (whole and number != int(number)) or not (least <= number <= most and number > 0):
        bounds = f"a whole number from {least:g} to {most:g}" if whole else f"a number above 0, at most {most:g}"
        raise _wrong(place, f"it must be 'auto' or {bounds}")
    return int(number) if whole else float(number)


def _local(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or any(name not in _LOCAL for name in value):
        raise _wrong("local", f"it is an object that may have {', '.join(_LOCAL)} (docs/fine-tuning.md)")
    return dict(value)


def _needed(body: Mapping[str, Any], name: str) -> str:
    found = _text(body, name)
    if not found:
        raise rules.missing(name)
    return found


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(f"Invalid type for '{name}': expected a string.", param=name, code="invalid_type")
    return value


def _types(value: object) -> str:
    found = [str(each.get("type")) for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
    return ", ".join(found)[:100] or "unknown"


def _wrong(param: str, why: str) -> RequestError:
    return RequestError(f"Invalid value for '{param[:200]}': {why}.", param=param[:200], code="invalid_value")


def _unsupported(param: str, why: str) -> RequestError:
    return RequestError(f"Unsupported value for '{param}': {why}.", param=param, code="unsupported_value")
