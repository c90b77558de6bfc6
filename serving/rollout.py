"""What to do next on one replica so that it has what the registry wants: desired against actual, as a list of steps. Pure.

A version has one name for ever and a directory that never changes, so "there" means: listed under its name with exactly its directory as `root`. Names
outside `engine/` belong to someone else and are left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from serving.states import State
from serving.views import AdapterView, VersionView

Kind = Literal["load", "verify", "unload", "forget"]


@dataclass(frozen=True, slots=True)
class Step:
    """One action on one replica. `forget` only corrects the registry: it thinks the version is there and it is not."""

    kind: Kind
    name: str
    adapter: str = ""
    version: int = 0
    path: str = ""
    new: bool = False  # never in service yet: a failure refuses it


def steps(
    views: Iterable[AdapterView],
    engine: str,
    index: int,
    actual: Mapping[str, str],
    now: float,
    waiting: Collection[str] = (),
    paths: Mapping[str, str] | None = None,
) -> list[Step]:
    """The steps for replica `index` of `engine`, most important first: live versions, canaries, pending ones, the rest, then removals.

    `actual` maps each listed name to its root, `waiting` are names whose last attempt failed a short while ago, `paths` maps local directories to what the
    server calls them.
    """
    found: list[Step] = []
    known: set[str] = set()
    for view, version in sorted(((a, v) for a in views if a.engine == engine for v in a.versions), key=_urgency):
        name, path = view.model(version.version), mapped(version.path, paths or {})
        known.add(name)
        found += _one(view, version, index, actual.get(name), name not in waiting, path, now)
    found += [Step("unload", name) for name in sorted(actual) if name.startswith(f"{engine}/") and name not in known]
    return found


def mapped(path: str, paths: Mapping[str, str]) -> str:
    """How a server elsewhere calls a directory of ours: the longest matching prefix is replaced."""
    for prefix in sorted(paths, key=len, reverse=True):
        if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
            return paths[prefix].rstrip("/") + path[len(prefix.rstrip("/")) :]
    return path


def _one(view: AdapterView, version: VersionView, index: int, root: str | None, try_now: bool, path: str, now: float) -> list[Step]:
    def step(kind: Kind) -> Step:
        return Step(kind, view.model(version.version), view.name, version.version, path, version.state is State.REGISTERED)

    thought_there = index in version.present
    leaving = version.state is State.DRAINING and now < (version.drain_until or 0.0)
    if root is not None and (root != path or not (version.wanted or leaving)):
        return [step("unload"), *([step("load"), step("verify")] if version.wanted and try_now else [])]
    if root is None:
        if version.wanted and try_now:
            return [step("load"), step("verify")]
        return [step("forget")] if thought_there else []
    if version.wanted and index not in version.replicas and try_now:
        return [step("verify")]
    return []


def _urgency(item: tuple[AdapterView, VersionView]) -> tuple[int, str, int]:
    view, version = item
    order = (view.live, view.canary_version, view.want_live, view.want_canary, view.previous)
    return (order.index(version.version) if version.version in order else len(order), view.name, -version.version)
