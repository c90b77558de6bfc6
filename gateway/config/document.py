"""A YAML file read for validation: plain values to check, and where each of them stands. Knows no section; the recipe of a training run uses it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from gateway.config.marks import Fault, Node, parse
from gateway.config.substitution import Unset, fill, scalars
from router.errors import Problem

Loc = tuple[str | int, ...]
MAX_BYTES = 4_000_000


class FromEnvironment(str):
    """Text that came out of a variable: it may be a secret, so `repr` in a message hides it."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return "the value from the environment"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands. `node` is None when the file does not hold it and the place is its parent's."""

    line: int | None
    column: int
    node: Node | None


@dataclass(slots=True)
class Document:
    """`data` is the plain form of the file ({} when nothing could be read); `faults` are what reading it already found.

    `flags` are the places whose value the command line gave: what is wrong there is not the file's fault.
    """

    file: str
    root: Node | None = None
    data: dict[str, object] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unset: set[int] = field(default_factory=set)
    flags: frozenset[Loc] = frozenset()

    def place(self, loc: Loc) -> Place:
        """The place of `loc`, or of the nearest thing above it that the file holds."""
        if loc in self.flags:
            return Place(None, 0, None)
        node = self.root
        line, column = (1, 0) if node is None else (node.line, node.column)
        for part in loc:
            value = None if node is None else node.value
            if isinstance(value, dict) and part in value:
                entry = value[str(part)]
                line, column, node = entry.line, entry.column, entry.node
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                node = value[part]
                line, column = node.line, node.column
            else:
                return Place(line, column, None)
        return Place(line, column, node)

    def is_unset(self, loc: Loc) -> bool:
        """Whether a variable that is not set stands at `loc`, above it, or in the list that is there."""
        for end in range(1, len(loc) + 1):
            node = self.place(loc[:end]).node
            if node is not None and id(node) in self.unset:
                return True
        node = self.place(loc).node
        return node is not None and isinstance(node.value, list) and any(id(inner) in self.unset for inner in scalars(node))

    def problem(self, loc: Loc, message: str) -> tuple[tuple[int, int], Problem]:
        """A problem at `loc`, after its place in the file."""
        if loc in self.flags:
            return (0, 0), Problem(message, key=f"--{loc[-1]}")
        place = self.place(loc)
        return (place.line or 0, place.column), Problem(message, self.file, place.line, dotted(loc) or None)


def dotted(loc: Loc) -> str:
    """`("routes", "triage", "candidates", 1)` as people write it: `routes.triage.candidates[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """The document at `path`; what is wrong with file or text is in `faults`."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return _unread(path, "there is no such file: create it, or name another with -c or BREAKEVEN_CONFIG")
    except IsADirectoryError:
        return _unread(path, "is a directory: name the file inside it")
    except OSError as error:
        return _unread(path, f"cannot be read ({error.strerror}): check who owns it and its permissions")
    if len(raw) > MAX_BYTES:
        return _unread(path, f"is larger than {MAX_BYTES} bytes: this is not a configuration file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return Document(str(path), faults=[Fault(line, "is not UTF-8 text: save the file in the encoding UTF-8")])
    return from_text(text, str(path), environ)


def from_text(text: str, file: str, environ: Mapping[str, str]) -> Document:
    """The document in `text`; `file` is what problems call it."""
    tree = parse(text)
    document = Document(file, tree.root, faults=tree.faults)
    root = tree.root
    if root is None or root.value is None:
        if not tree.faults:
            document.faults.append(Fault(1, "is empty: a configuration needs at least one section, such as `routes:`"))
        return document
    faults, unset = fill(root, environ)
    document.faults += faults
    document.unset = unset | {id(node) for node in tree.broken if node.value is None}
    if not isinstance(root.value, dict):
        document.faults.append(Fault(root.line, "must hold `key: value` lines at its top level"))
        return document
    data = _plain(root, document.unset, {})
    document.data = data if isinstance(data, dict) else {}
    return document


def _unread(path: Path, message: str) -> Document:
    return Document(str(path), faults=[Fault(0, message)])


def _plain(node: Node, unset: set[int], memo: dict[int, object]) -> object:
    """Plain values; shared nodes give shared values, so that aliases of aliases do not grow without bound."""
    if id(node) not in memo:
        value = node.value
        if isinstance(value, dict):
            memo[id(node)] = {key: _plain(entry.node, unset, memo) for key, entry in value.items()}
        elif isinstance(value, list):
            memo[id(node)] = [_plain(item, unset, memo) for item in value]
        elif id(node) in unset:
            memo[id(node)] = Unset()
        else:
            memo[id(node)] = FromEnvironment(value) if node.secret and isinstance(value, str) else value
    return memo[id(node)]
