"""Scorers of your own: `module:function` in a suite, from the directory of the configuration and nowhere else.

Trust: such a module runs with the rights of `breakeven eval`, like the configuration it lies beside. Nothing is ever loaded from a suite's own directory, from
a path with a slash, or by the gateway.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from router.errors import DataError

NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):([A-Za-z_][A-Za-z0-9_]*)")
# (expected, the answer's text) -> 0..1, or whether it is right
Function = Callable[[Any, str], object]


def load(name: str, directory: Path, known: dict[str, Function]) -> Function:
    """The function; each module is run once (`known` keeps them). DataError where there is none, or its module fails."""
    match = NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{name!r} is not module:function")
    if name in known:
        return known[name]
    path = directory / f"{match[1]}.py"
    if not path.is_file():
        raise DataError(f"there is no {path.name} in {directory}: scorers of your own lie beside the configuration")
    spec = importlib.util.spec_from_file_location(f"breakeven_scorer_{match[1]}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"{path} fails when it is loaded: {type(error).__name__}: {error}") from error
    function = getattr(module, match[2], None)
    if not callable(function):
        raise DataError(f"{path} has no function {match[2]!r}")
    known[name] = function
    return known[name]


def called(function: Function, expected: Any, answer: str) -> tuple[float, bool, str]:
    """(value 0..1, wholly right, what to say). A function that fails, or gives no score, is the item's problem and said there."""
    try:
        found = function(expected, answer)
    except Exception as error:  # noqa: BLE001  as above
        return 0.0, False, f"the scorer failed: {type(error).__name__}: {error}"[:300]
    detail = ""
    if isinstance(found, Mapping):
        detail, found = str(found.get("detail", "")), found.get("value")
    if isinstance(found, bool):
        return float(found), found, detail
    if isinstance(found, int | float) and 0.0 <= found <= 1.0:
        return float(found), found >= 1.0, detail
    return 0.0, False, f"the scorer gave {found!r} instead of a number between 0 and 1"
