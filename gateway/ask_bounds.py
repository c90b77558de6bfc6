"""What in a request body is beyond all bounds, whoever answers it: it would make a backend or our own arithmetic do what nobody can mean. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from router.errors import RequestError

# OpenAI's own bound on choices.
MOST_CHOICES = 128
# Far beyond any model; what a model takes is for it to say.
MOST_TOKENS = 10_000_000
# orjson reads 1024 levels and writes 254. Bodies with fewer brackets than this cannot be that deep.
_FEW = 200
_COUNTS = {"n": MOST_CHOICES, "best_of": MOST_CHOICES, "max_tokens": MOST_TOKENS, "max_completion_tokens": MOST_TOKENS, "max_output_tokens": MOST_TOKENS}


def check(body: Mapping[str, Any], raw: bytes) -> None:
    """RequestError in OpenAI's words."""
    for name, most in _COUNTS.items():
        value = body.get(name)
        if value is not None:
            _check_count(name, value, most)
    if raw.count(b"{") + raw.count(b"[") > _FEW:
        try:
            orjson.dumps(body)
        except TypeError:
            raise RequestError("The JSON body of your request is nested too deeply: keep it within 200 levels.", code="invalid_json") from None


def _check_count(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        got = {str: "a string", bool: "a boolean", float: "a decimal", list: "an array", dict: "an object"}[type(value)]
        raise RequestError(f"Invalid type for '{name}': expected an integer, but got {got} instead.", param=name, code="invalid_type")
    if value < 1:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
        raise RequestError(message, param=name, code="integer_below_min_value")
    if value > most:
        message = f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got {value} instead."
        raise RequestError(message, param=name, code="integer_above_max_value")
