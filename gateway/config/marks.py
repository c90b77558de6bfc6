"""YAML text to a tree whose every node knows its line. Scalars follow YAML 1.2's core schema; nothing here knows what the keys mean.

Built from parser events rather than with a YAML constructor, because constructors drop positions, keep the last of two equal keys without a word, read
`1:30` as ninety and `no` as false, and follow an alias that contains itself for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

MAX_DEPTH = 50
_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {word: value for value, name in ((True, "true"), (False, "false")) for word in (name, name.title(), name.upper())}
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the text itself."""

    line: int
    message: str
    column: int = 0


@dataclass(slots=True)
class Node:
    """A scalar, a list or a mapping with the place it begins. `literal`: written without quotes; `secret`: its value came from the environment."""

    line: int
    column: int
    value: str | int | float | bool | list[Node] | dict[str, Entry] | None
    literal: bool = False
    secret: bool = False


@dataclass(slots=True)
class Entry:
    """One key of a mapping and what it stands before."""

    line: int
    column: int
    node: Node


@dataclass(slots=True)
class Tree:
    """What was read: `root` is None where nothing could be. `broken` are nodes whose value a fault took away."""

    root: Node | None = None
    faults: list[Fault] = field(default_factory=list)
    broken: list[Node] = field(default_factory=list)


class _Stop(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def parse(text: str) -> Tree:
    """The tree of one YAML document. A syntax error ends it (what follows cannot be trusted); every other fault is collected."""
    tree = Tree()
    try:
        _Builder(text, tree).document()
    except _Stop as stop:
        tree.faults.append(stop.fault)
        tree.root = None
    except yaml.MarkedYAMLError as error:
        tree.faults.append(_syntax_fault(error, text))
        tree.root = None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        tree.faults.append(Fault(line, f"is not text YAML allows ({error.reason}): remove the control character"))
        tree.root = None
    return tree


def _syntax_fault(error: yaml.MarkedYAMLError, text: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    at = text.splitlines()[mark.line : mark.line + 1] if mark else []
    said = " ".join(part for part in (error.context, error.problem) if part)
    hint = ""
    if at and "\t" in at[0][: len(at[0]) - len(at[0].lstrip())]:
        hint = "; indent with spaces, not tabs"
    elif "mapping values" in said or "simple key" in said or "block mapping" in said or "block end" in said:
        hint = "; look at the indentation, at a missing space after a colon, and for text with `: `, `#` or `{` that needs quotes"
    return Fault((mark.line + 1) if mark else 1, f"is not valid YAML: {said}{hint}", mark.column if mark else 0)


def resolve(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def spot(event: yaml.Event) -> tuple[int, int]:
    """Line (from 1) and column of where an event begins."""
    mark = event.start_mark
    return (1, 0) if mark is None else (mark.line + 1, mark.column)


class _Builder:
    """Consumes parser events; one instance per document."""

    def __init__(self, text: str, tree: Tree) -> None:
        self.events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        self.tree = tree
        self.anchors: dict[str, Node] = {}
        self.open: set[str] = set()

    def fault(self, event: yaml.Event, message: str) -> Fault:
        line, column = spot(event)
        return Fault(line, message, column)

    def document(self) -> None:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.tree.root is not None:
                    raise _Stop(self.fault(event, "a second document begins here: keep one document per file"))
                self.tree.root = self.node(next(self.events), 0)

    def node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _Stop(self.fault(event, f"is nested more than {MAX_DEPTH} levels deep"))
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise _Stop(self.fault(event, "is where a value should be"))  # pragma: no cover  the parser sends nothing else
        anchor = event.anchor
        if anchor:
            self.open.add(anchor)
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self.check_tag(event, "seq")
            node = self.sequence(event, depth)
        else:
            self.check_tag(event, "map")
            node = self.mapping(event, depth)
        if anchor:
            self.open.discard(anchor)
            self.anchors[anchor] = node
        return node

    def alias(self, event: yaml.AliasEvent) -> Node:
        if event.anchor in self.open:
            self.tree.faults.append(self.fault(event, f"*{event.anchor} stands inside &{event.anchor} and would contain itself"))
        elif event.anchor in self.anchors:
            return self.anchors[event.anchor]
        else:
            self.tree.faults.append(self.fault(event, f"*{event.anchor} has no anchor: write &{event.anchor} before the value it repeats"))
        self.tree.broken.append(Node(*spot(event), None))
        return self.tree.broken[-1]

    def check_tag(self, event: yaml.CollectionStartEvent, expected: str) -> None:
        if event.tag not in {None, "!", _TAG + expected}:
            self.tree.faults.append(self.fault(event, f"has the tag {event.tag}, which means nothing here: remove it"))

    def scalar(self, event: yaml.ScalarEvent) -> Node:
        line, column = spot(event)
        plain = event.implicit[0]
        if event.tag in {None, "!", _TAG + "str"}:
            value = resolve(event.value) if plain else event.value
            return Node(line, column, value, literal=plain)
        value = resolve(event.value)
        kinds = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
        if not isinstance(value, kinds.get(event.tag.removeprefix(_TAG), ())):
            self.tree.faults.append(self.fault(event, f"has the tag {event.tag}, which does not fit here: remove it"))
        return Node(line, column, value, literal=True)

    def sequence(self, event: yaml.Event, depth: int) -> Node:
        items: list[Node] = []
        node = Node(*spot(event), items)
        for inner in self.events:
            if isinstance(inner, yaml.SequenceEndEvent):
                break
            items.append(self.node(inner, depth + 1))
        return node

    def mapping(self, event: yaml.Event, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        merged: list[tuple[yaml.Event, Node]] = []
        for key in self.events:
            if isinstance(key, yaml.MappingEndEvent):
                break
            if not isinstance(key, yaml.ScalarEvent):
                self.tree.faults.append(self.fault(key, "is used as a key: a key must be a plain word"))
                self.node(key, depth + 1)
                self.node(next(self.events), depth + 1)
                continue
            node = self.node(next(self.events), depth + 1)
            if key.value == "<<" and key.implicit[0]:
                merged.append((key, node))
            elif key.value in entries:
                self.tree.faults.append(self.fault(key, f"the key {key.value!r} is here a second time (first on line {entries[key.value].line}): keep one"))
            else:
                entries[key.value] = Entry(*spot(key), node)
        for key, node in merged:
            self.merge(key, node, entries)
        return Node(*spot(event), entries)

    def merge(self, key: yaml.Event, node: Node, entries: dict[str, Entry]) -> None:
        """Keys written out win over merged ones, earlier merges over later ones."""
        for source in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(source.value, dict):
                self.tree.faults.append(self.fault(key, "<<: must be followed by an alias of a mapping, or by a list of them"))
                continue
            for name, entry in source.value.items():
                entries.setdefault(name, entry)
