"""Names: what a client may write in `model`, and how backends, adapters and versions are written. Not here: who may use which (gateway.auth).

Grammar, tried in this order: a route; a known `ft:…` name; a model a provider lists by name; `engine`, `engine/adapter`, `engine/adapter@version`,
`provider/model` (the first slash splits); last, any other name where a provider lists `"*"`. The wildcard comes last because it matches everything:
before the owners it would swallow every pin to an engine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from router.types import Kind

EVERYTHING = "*"
# Routes, engines, providers and adapters: they become path segments, metric labels and parts of `model`, so: no slash, no @, not `..`.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
VERSION_PATTERN = r"[1-9][0-9]{0,8}"
DIGEST_PATTERN = r"(?:sha256:)?([0-9a-f]{64})"
_NAME = re.compile(NAME_PATTERN)
_VERSION = re.compile(VERSION_PATTERN)
_DIGEST = re.compile(DIGEST_PATTERN)


@dataclass(frozen=True, slots=True)
class Target:
    """What a `model` value means. A route leaves the choice to the router; everything else is pinned to one candidate.

    For a hosted candidate `model` is what is sent upstream; for an engine `model` is None and `adapter` None means the bare base.
    `version` and `digest` None: the live one. `answer_as` is the name an `ft:` caller asked for and must see in the answer.
    """

    kind: Literal["route", "candidate"]
    route: str | None = None
    owner: str | None = None
    owner_kind: Kind | None = None
    model: str | None = None
    adapter: str | None = None
    version: int | None = None
    digest: str | None = None
    answer_as: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether the caller named the candidate, so that there is no choice and no failover."""
        return self.kind == "candidate"


def parse(
    name: str,
    routes: Collection[str],
    ft_names: Mapping[str, str],
    listed: Mapping[str, Collection[str]],
    owners: Mapping[str, Kind],
) -> Target | None:
    """The meaning of a `model` value, or None (404 `model_not_found`).

    `ft_names` maps an `ft:…` name to a candidate name (`engine/adapter@version`), `listed` a provider to the models it lists (`("*",)` lists all),
    in the order in which providers are asked, `owners` every provider and engine to its kind.
    """
    if name in routes:
        return Target("route", route=name)
    if name in ft_names:
        known = _of_owner(ft_names[name], owners)
        return None if known is None else replace(known, answer_as=name)
    for provider, models in listed.items():
        if name in models and name != EVERYTHING:
            return Target("candidate", owner=provider, owner_kind="hosted", model=name)
    if name.partition("/")[0] in owners:
        return _of_owner(name, owners)
    if name:
        for provider, models in listed.items():
            if EVERYTHING in models:
                return Target("candidate", owner=provider, owner_kind="hosted", model=name)
    return None


def _of_owner(name: str, owners: Mapping[str, Kind]) -> Target | None:
    owner, slash, rest = name.partition("/")
    kind = owners.get(owner)
    if kind is None:
        return None
    if kind == "hosted":
        return Target("candidate", owner=owner, owner_kind=kind, model=rest) if rest else None
    if not slash:
        return Target("candidate", owner=owner, owner_kind=kind)
    adapter, at, version = rest.partition("@")
    if not valid_name(adapter):
        return None
    if not at:
        return Target("candidate", owner=owner, owner_kind=kind, adapter=adapter)
    number, digest = parse_version(version), parse_digest(version)
    if number is None and digest is None:
        return None
    return Target("candidate", owner=owner, owner_kind=kind, adapter=adapter, version=number, digest=digest)


def backend_name(owner: str, part: str | None = None, version: int | None = None) -> str:
    """The public name of a candidate: `openai/gpt-4o-mini`, `local`, `local/support-triage`, `local/support-triage@3`."""
    if part is None:
        return owner
    return f"{owner}/{part}" if version is None else f"{owner}/{part}@{version}"


PROGRAM = "+program"
_PROGRAM = re.compile(re.escape(PROGRAM) + r"(-\d+)?\Z")


def without_program(backend: str) -> str:
    """The name of the backend that answers: two candidates of a route that differ by their program alone differ by `+program` behind their name."""
    return _PROGRAM.sub("", backend)


def valid_name(name: str) -> bool:
    """Whether this may name a route, provider, engine or adapter (`NAME_PATTERN`)."""
    return _NAME.fullmatch(name) is not None


def parse_version(text: str) -> int | None:
    """The version number, or None when this is not one (versions count from 1)."""
    return int(text) if _VERSION.fullmatch(text) else None


def parse_digest(text: str) -> str | None:
    """The 64 hex digits of a sha256, with or without `sha256:` before them; None when this is not one."""
    match = _DIGEST.fullmatch(text)
    return match[1] if match else None
