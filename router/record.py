"""Decisions and snapshots as JSON-safe values, content addresses, and replay. Not here: where they are kept (gateway.store).

Round trips are exact: floats keep every bit through JSON, sets are written sorted. Reading takes what older records lack from the defaults and ignores what
newer ones add.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from hashlib import sha256
from typing import Any, TypeVar, cast

from router.errors import DataError, StateError
from router.policy import decide
from router.types import Candidate, Decision, Features, Live, Price, Scored, Slo, Snapshot, Stage, Why

T = TypeVar("T", Decision, Snapshot)


def to_dict(value: Decision | Snapshot) -> dict[str, Any]:
    """The value as dictionaries, lists, strings, numbers, booleans and None alone."""
    return cast("dict[str, Any]", _plain(value))


def from_dict(kind: type[T], data: Mapping[str, Any]) -> T:
    """The `Decision` or `Snapshot` that `to_dict` wrote. Raises DataError where it is none."""
    try:
        return cast("T", _build(kind, data))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"this is not the record of a {kind.__name__.lower()}: {error}") from error


def digest(snapshot: Snapshot) -> str:
    """The sha256 of the snapshot's content in hex; its own `digest` field is left out."""
    content = to_dict(snapshot)
    del content["digest"]
    for candidate in content["candidates"]:
        if not candidate["program_bytes"]:
            del candidate["program_bytes"]  # it came later, as below
        if candidate["price"] is not None:
            candidate["price"] = {name: value for name, value in candidate["price"].items() if value is not None or name not in _LATER}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


# What prices have got since the first snapshots were kept: left out where it is unknown, so that those keep their digests.
_LATER = frozenset({"cache_write", "reasoning", "audio_input", "audio_output"})


def replay(decision: Decision, snapshot: Snapshot) -> tuple[Decision, bool]:
    """The decision made again from its record, and whether candidates come in the same order. Raises StateError for another snapshot than it was made from."""
    if decision.snapshot_digest not in ("", digest(snapshot)):
        raise StateError(f"decision {decision.id} was made from another snapshot; replay it with {decision.snapshot_digest}")
    live = {state.backend: state for state in decision.live}
    again = decide(decision.features, snapshot, live, decision.now, decision.seed, decision.id)
    return again, again.order == decision.order


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return {field.name: _plain(getattr(value, field.name)) for field in fields(cast("Any", value))}


def _build(kind: type[Any], data: Mapping[str, Any]) -> object:
    readers = _READERS[kind]
    found = {}
    for field in fields(kind):
        if field.name in data:
            value = data[field.name]
            reader = readers.get(field.name)
            found[field.name] = value if reader is None or value is None else reader(value)
    return kind(**found)


def _one(kind: type[Any]) -> Callable[[Any], object]:
    return lambda data: _build(kind, data)


def _many(kind: type[Any]) -> Callable[[Any], object]:
    return lambda data: tuple(_build(kind, item) for item in data)


# How the fields that are not plain JSON values are read back, by class.
_READERS: Mapping[type[Any], Mapping[str, Callable[[Any], object]]] = {
    Price: {},
    Slo: {},
    Live: {},
    Scored: {},
    Features: {"needs": frozenset},
    Candidate: {"stage": Stage, "price": _one(Price), "takes": frozenset},
    Snapshot: {"candidates": _many(Candidate), "slo": _one(Slo)},
    Decision: {"order": tuple, "reason": Why, "scored": _many(Scored), "features": _one(Features), "live": _many(Live)},
}
