"""What is wrong with a request's JSON, in OpenAI's words. Pure; used by everything that reads bodies."""

from __future__ import annotations

from typing import Any

from router.errors import RequestError


def wrong_type(param: str, expected: str, got: object) -> RequestError:
    """The error for a value of the wrong type. `expected` has its article."""
    return RequestError(f"Invalid type for '{param}': expected {expected}, but got {a(got)} instead.", param=param, code="invalid_type")


def missing(param: str) -> RequestError:
    """The error for a parameter that must be there."""
    return RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def a(value: object) -> str:
    """A JSON value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a decimal"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def text(values: dict[str, Any], name: str, where: str = "") -> str:
    """A string that must be there."""
    value = values.get(name)
    param = f"{where}.{name}" if where else name
    if value is None:
        raise missing(param)
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    return value


def objects(value: object, param: str) -> list[dict[str, Any]]:
    """An array of objects; None is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(param, "an array of objects", value)
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise wrong_type(f"{param}[{index}]", "an object", item)
    return value


def mapping(value: object, param: str) -> dict[str, Any]:
    """An object; None is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    return value
