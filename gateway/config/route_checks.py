"""What must hold of the routes: their names, that their candidates exist and differ, that the files they name are there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.config.checks import NAME_RULE, Finding, listing, mapping, text, unknown
from gateway.config.document import Loc
from gateway.config.values import absolute
from router.naming import valid_name
from serving import programs
from serving.programs import Spec


def check_routes(data: Mapping[str, object], root: Path) -> Iterator[Finding]:
    """Every finding of every route. `root` is the directory relative paths are seen from."""
    for name, route in mapping(data, "routes").items():
        loc: Loc = ("routes", name)
        yield from _name(loc, name, data)
        seen: dict[str, int] = {}
        for index, candidate in enumerate(listing(route, "candidates")):
            if isinstance(candidate, Mapping):
                place: Loc = (*loc, "candidates", index)
                yield from _candidate(place, candidate, data)
                yield from _program(place, mapping(candidate, "program"), root)
                first = seen.setdefault(json.dumps(candidate, sort_keys=True, default=repr), index)
                if first != index:
                    yield Finding(place, f"is the same as candidates[{first}]: remove one")
        yield from _hedge((*loc, "hedge"), mapping(route, "hedge"), mapping(route, "timeouts"), len(listing(route, "candidates")))
        yield from _file((*loc, "quality"), mapping(route, "quality"), "suite", root)


def _name(loc: Loc, name: str, data: Mapping[str, object]) -> Iterator[Finding]:
    if not valid_name(name):
        yield Finding(loc, f"{name!r} cannot be the name of a route: {NAME_RULE}")
    for kind in ("provider", "engine"):
        if name in mapping(data, f"{kind}s"):
            yield Finding(loc, f"is in {kind}s too, which could then not be asked for by that name: rename the route")


def _candidate(loc: Loc, candidate: Mapping[str, object], data: Mapping[str, object]) -> Iterator[Finding]:
    hosted, local = candidate.get("provider") not in (None, ""), candidate.get("engine") not in (None, "")
    if hosted and local:
        yield Finding(loc, "has a provider and an engine: make two candidates of it")
        return
    if not hosted and not local:
        yield Finding(loc, "needs provider and model, or engine (and adapter): add one")
        return
    kind = "provider" if hosted else "engine"
    owner = text(candidate, kind)
    if owner is not None and owner not in mapping(data, f"{kind}s"):
        yield unknown((*loc, kind), kind, owner, mapping(data, f"{kind}s"))
    if hosted:
        if candidate.get("model") in (None, ""):
            yield Finding(loc, "has a provider and needs model: add the name the provider knows it by")
        if candidate.get("adapter") not in (None, ""):
            yield Finding((*loc, "adapter"), "only an engine has adapters: remove it, or name an engine instead of the provider")
    else:
        if candidate.get("model") not in (None, ""):
            yield Finding((*loc, "model"), "an engine's model is named once, in engines: remove it here")
        yield from _adapter(loc, text(candidate, "adapter"))


def _adapter(loc: Loc, adapter: str | None) -> Iterator[Finding]:
    if adapter is None or valid_name(adapter):
        return
    if "@" in adapter:
        yield Finding((*loc, "adapter"), f"must name no version, not {adapter!r}: a route follows the live version, which `breakeven adapters promote` sets")
    else:
        yield Finding((*loc, "adapter"), f"{adapter!r} cannot be the name of an adapter: {NAME_RULE}")


def _program(loc: Loc, program: Mapping[str, object], root: Path) -> Iterator[Finding]:
    if program and not any(program.get(key) for key in ("system", "examples", "retrieval")):
        yield Finding((*loc, "program"), "puts nothing before a conversation: add system, examples or retrieval, or remove it")
    yield from _file((*loc, "program"), program, "system", root)
    yield from _file((*loc, "program"), program, "examples", root)
    yield from _file((*loc, "program", "retrieval"), mapping(program, "retrieval"), "source", root, directory=True)
    yield from _contents((*loc, "program"), program, root)


def _contents(loc: Loc, program: Mapping[str, object], root: Path) -> Iterator[Finding]:
    """What is wrong inside the files that are there."""
    named = {"system": text(program, "system"), "examples": text(program, "examples"), "source": text(mapping(program, "retrieval"), "source")}
    there = {key: absolute(name, root) for key, name in named.items() if name is not None}
    for key, path in there.items():
        if path.is_file() or (key == "source" and path.is_dir()):
            place: Loc = (*loc, "retrieval", key) if key == "source" else (*loc, key)
            spec = Spec(system=path) if key == "system" else Spec(examples=path) if key == "examples" else Spec(source=path)
            for problem in programs.problems(spec):
                yield Finding(place, str(problem))


def _hedge(loc: Loc, hedge: Mapping[str, object], timeouts: Mapping[str, object], candidates: int) -> Iterator[Finding]:
    if hedge and candidates == 1:
        yield Finding(loc, "needs a second candidate to call beside the first: add one, or remove hedge", doubt=True)
    after, patience = hedge.get("after_ms"), timeouts.get("first_token_ms")
    if isinstance(after, int | float) and isinstance(patience, int | float) and after >= patience:
        yield Finding((*loc, "after_ms"), f"is not less than timeouts.first_token_ms ({patience:g}), so no answer is ever hedged: lower it", doubt=True)


def _file(loc: Loc, section: Mapping[str, object], key: str, root: Path, *, directory: bool = False) -> Iterator[Finding]:
    name = text(section, key)
    if name is None:
        return
    path = absolute(name, root)
    if not path.exists():
        yield Finding((*loc, key), f"there is no file {name!r} beside this configuration: create it, or correct the path")
    elif path.is_dir() and not directory:
        yield Finding((*loc, key), f"{name!r} is a directory: name a file in it")
