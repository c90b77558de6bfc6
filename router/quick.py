"""Frozen dataclasses that are made as fast as plain ones. What they are does not change: frozen, slots, same arguments, equality and text.

A frozen dataclass sets each of its fields through `object.__setattr__`: 1.6 us for ten fields where a plain one takes 0.3 us (measured), and a request makes
some twenty of them. Here `__init__` sets fields by plain assignment while the new object is of a twin class without the lock, and gives it its class last.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def quick(kind: T) -> T:
    """For a class that is `@dataclass(frozen=True, slots=True)` already and has no `__post_init__`."""
    # both: with one of them alone an assignment still goes the long way
    twin = type(kind.__name__, (kind,), {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__})
    names = {"__become": object.__setattr__, "__twin": twin, "__kind": kind}
    arguments, lines = [], ["__become(self, '__class__', __twin)"]
    signature = inspect.signature(kind).parameters
    for field in fields(kind):
        parameter, value = signature[field.name], field.name
        if parameter.default is inspect.Parameter.empty:
            arguments.append(field.name)
        else:
            names[f"__default_{field.name}"] = parameter.default
            arguments.append(f"{field.name}=__default_{field.name}")
            if callable(field.default_factory):
                names[f"__make_{field.name}"] = field.default_factory
                value = f"__make_{field.name}() if {field.name} is __default_{field.name} else {field.name}"
        lines.append(f"self.{field.name} = {value}")
    lines.append("self.__class__ = __kind")
    made: dict[str, Any] = {}
    exec(f"def __init__(self, {', '.join(arguments)}):\n    " + "\n    ".join(lines), names, made)  # noqa: S102 - as dataclasses itself does
    made["__init__"].__qualname__ = f"{kind.__qualname__}.__init__"
    setattr(kind, "__init__", made["__init__"])  # noqa: B010 - a plain assignment is none that a type checker allows
    return kind
