"""`${VAR}` and `${VAR:-default}` in the scalars of a tree; `$${` stands for a literal `${`. Keys are never touched, results never searched again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gateway.config.marks import Fault, Node

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?")


class Unset:
    """Stands for a value that could not be filled in, so that no second problem is reported about it."""


def scalars(node: Node, seen: set[int] | None = None) -> Iterator[Node]:
    """Every scalar below `node`, each once however often it is aliased."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node.value, dict):
        for entry in node.value.values():
            yield from scalars(entry.node, seen)
    elif isinstance(node.value, list):
        for item in node.value:
            yield from scalars(item, seen)
    else:
        yield node


def fill(root: Node, environ: Mapping[str, str]) -> tuple[list[Fault], set[int]]:
    """Substitute in place. Returns the faults, and the ids of nodes left without a value."""
    faults: list[Fault] = []
    unset: set[int] = set()
    for node in scalars(root):
        if not isinstance(node.value, str) or "${" not in node.value:
            continue
        missing: list[str] = []
        text = _substitute(node.value, environ, missing)
        if missing:
            faults.extend(Fault(node.line, message, node.column) for message in missing)
            unset.add(id(node))
        node.secret = _reads_environment(node.value)
        node.value = text
    return faults, unset


def _reads_environment(text: str) -> bool:
    return any(match["name"] for match in _REFERENCE.finditer(text))


def _substitute(text: str, environ: Mapping[str, str], missing: list[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match.group() == "$${":
            return "${"
        if name is None:
            missing.append("has a ${ that begins no variable: write ${NAME} or ${NAME:-default}, or $${ for a literal ${")
            return ""
        value = environ.get(name, "")
        if value or (name in environ and default is None):
            return value
        if default is None:
            missing.append(f"the environment variable {name} is not set: set it, or write ${{{name}:-}} to do without")
            return ""
        return default

    return _REFERENCE.sub(replace, text)
