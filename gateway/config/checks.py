"""What must hold between the sections, and of values that a type cannot describe: server, stores, providers, engines, training.

Checks see the plain values of the file, not the models: a section with a wrong type must not hide what is wrong in the next. So they take nothing for
granted and skip what has the wrong shape (the models report that). Routes and prices have files of their own. Values are shown with `!r`, which hides secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.document import Loc
from gateway.config.models import is_loopback
from gateway.config.problems import similar
from gateway.config.values import SQLITE, absolute, is_written_as_path
from router.naming import valid_name

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_LAUNCH_ONLY = ("replicas", "python", "args", "env", "startup_timeout_s")
_REACH_ONLY = ("api_key", "adapter_path_map")
NAME_RULE = "use letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at `loc`; with `doubt`, something allowed that is probably not meant."""

    loc: Loc
    message: str
    doubt: bool = False


def mapping(data: object, *keys: str) -> Mapping[str, object]:
    """The mapping at `keys`, or an empty one when there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def listing(data: object, key: str) -> list[object]:
    """The list at `key`, or an empty one when there is none."""
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, list) else []


def text(data: Mapping[str, object], key: str) -> str | None:
    """The non-empty text at `key`, or None."""
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def check(data: Mapping[str, object], root: Path) -> Iterator[Finding]:
    """Everything but routes and prices. `root` is the directory relative paths are seen from."""
    yield from _server(data, root)
    yield from _stores(data)
    yield from _providers(data)
    yield from _engines(data, root)
    yield from _names(data)
    yield from _roots(data, root)
    yield from _aliases(data)


def _server(data: Mapping[str, object], root: Path) -> Iterator[Finding]:
    section = mapping(data, "server")
    host = text(section, "host")
    if host is not None and ("/" in host or (host.count(":") == 1) or any(mark.isspace() for mark in host)):
        yield Finding(("server", "host"), f"must be an address or a host name alone, not {host!r}: the port goes into server.port")
    elif host is not None and not is_loopback(host) and not section.get("admin_key"):
        why = "the admin API and the dashboard cannot be used from other machines: set server.admin_key"
        yield Finding(("server", "host"), f"{host!r} can be reached from other machines and there is no server.admin_key; without one {why}", doubt=True)
    if section.get("admin_port") not in (None, 0) and section.get("admin_port") == section.get("port", 8080):
        yield Finding(("server", "admin_port"), "is the same as server.port: choose another, or leave it out to serve both on one port")
    default = text(section, "default_provider")
    if default is not None and default not in mapping(data, "providers"):
        yield unknown(("server", "default_provider"), "provider", default, mapping(data, "providers"))
    directory = text(section, "data_dir")
    if directory is not None and absolute(directory, root).is_file():
        yield Finding(("server", "data_dir"), "is a file: name a directory, it is created when it does not exist")


def _stores(data: Mapping[str, object]) -> Iterator[Finding]:
    database = data.get("database")
    if isinstance(database, str):
        scheme = database.partition(":")[0].partition("+")[0]
        if scheme == "sqlite" and (not database.startswith(SQLITE) or database.removeprefix(SQLITE).startswith((":memory:", "?")) or database == SQLITE):
            yield Finding(("database",), "must name a file that all processes share: sqlite:///breakeven.db, or sqlite:////var/lib/breakeven.db from the root")
        elif scheme not in {"sqlite", "postgresql"}:
            yield Finding(("database",), "must begin with sqlite:/// or postgresql://")
    redis = data.get("redis")
    if isinstance(redis, str) and redis and redis.partition("://")[0] not in {"redis", "rediss", "unix"}:
        yield Finding(("redis",), "must begin with redis://, rediss:// or unix://")


def _providers(data: Mapping[str, object]) -> Iterator[Finding]:
    listed: dict[str, str] = {}
    for name, provider in mapping(data, "providers").items():
        loc: Loc = ("providers", name)
        section = mapping(provider)
        base_url, kind = text(section, "base_url"), section.get("kind", "openai")
        if kind in {"azure", "compatible"} and base_url is None and not _unclear(section.get("base_url")):
            yield Finding(loc, f"is of kind {kind} and needs base_url: add the address of its API, ending in /v1")
        if kind == "openai" and base_url is None and section.get("api_key") in (None, ""):
            yield Finding(loc, 'has no api_key, so OpenAI will answer 401: add api_key: "${OPENAI_API_KEY}"', doubt=True)
        if base_url is not None and section.get("api_key") and _clear_text(base_url):
            yield Finding((*loc, "base_url"), "sends the api_key unencrypted to another machine: use https://", doubt=True)
        for index, model in enumerate(listing(section, "models")):
            if isinstance(model, str) and listed.setdefault(model, name) != name:
                why = f"{model!r} is listed by {listed[model]} too, which stands first and answers for it"
                yield Finding((*loc, "models", index), f"{why}: remove it here, or ask for {name}/{model}", doubt=True)


def _engines(data: Mapping[str, object], root: Path) -> Iterator[Finding]:
    for name, engine in mapping(data, "engines").items():
        if engine is not None and not isinstance(engine, Mapping):
            continue
        loc: Loc = ("engines", name)
        section = mapping(engine)
        has_model, has_urls = bool(section.get("model")), bool(section.get("urls"))
        if has_model and has_urls:
            yield Finding((*loc, "urls"), "cannot stand beside model: keep model to launch vLLM here, or urls for a vLLM that someone else runs")
        elif not has_model and not has_urls:
            yield Finding(loc, "needs model (vLLM is launched here) or urls (someone else runs it): add one")
        else:
            useless, reason = (_LAUNCH_ONLY, "urls: this vLLM is launched by someone else") if has_urls else (_REACH_ONLY, "model: this vLLM is launched here")
            for key in useless:
                if key in section:
                    yield Finding((*loc, key), f"has no effect beside {reason}; remove it")
        yield from _engine_values(loc, section, root)


def _engine_values(loc: Loc, section: Mapping[str, object], root: Path) -> Iterator[Finding]:
    rank = section.get("max_lora_rank")
    if isinstance(rank, int) and not isinstance(rank, bool) and rank not in LORA_RANKS:
        yield Finding((*loc, "max_lora_rank"), f"vLLM takes {', '.join(map(str, LORA_RANKS))}, not {rank}")
    model = text(section, "model")
    if model is not None and is_written_as_path(model) and not absolute(model, root).is_dir():
        yield Finding((*loc, "model"), f"there is no directory {model!r}: name a model directory, or a Hugging Face id such as Qwen/Qwen2.5-7B-Instruct")
    python = text(section, "python")
    if python is not None and is_written_as_path(python, bare_slash=True) and not absolute(python, root).is_file():
        yield Finding((*loc, "python"), f"there is no file {python!r}: name the python of the environment vLLM is installed in")
    for ours, theirs in mapping(section, "adapter_path_map").items():
        if not ours.startswith("/") or (isinstance(theirs, str) and not theirs.startswith("/")):
            yield Finding((*loc, "adapter_path_map", ours), "must map a directory here to the same one as vLLM sees it, both beginning with /")
    for key in mapping(section, "env"):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            yield Finding((*loc, "env", key), "is not the name of an environment variable: use letters, digits and _")


def _names(data: Mapping[str, object]) -> Iterator[Finding]:
    """Providers and engines share one space of names: `x/y` must have one meaning."""
    for kind in ("providers", "engines"):
        for name in mapping(data, kind):
            if not valid_name(name):
                yield Finding((kind, name), f"{name!r} cannot be a name: {NAME_RULE}")
    for name in mapping(data, "engines"):
        if name in mapping(data, "providers"):
            yield Finding(("engines", name), f"is the name of a provider too, so {name}/x could mean either: rename one")


def _roots(data: Mapping[str, object], root: Path) -> Iterator[Finding]:
    for index, path in enumerate(listing(mapping(data, "adapters"), "import_roots")):
        if isinstance(path, str) and not absolute(path, root).is_dir():
            yield Finding(("adapters", "import_roots", index), f"there is no directory {path!r}: no adapter can be added from it", doubt=True)


def _aliases(data: Mapping[str, object]) -> Iterator[Finding]:
    for base, engine in mapping(data, "training", "base_aliases").items():
        if isinstance(engine, str) and engine and engine not in mapping(data, "engines"):
            yield unknown(("training", "base_aliases", base), "engine", engine, mapping(data, "engines"))


def unknown(loc: Loc, kind: str, name: str, known: Mapping[str, object]) -> Finding:
    """A reference to something that is not there, with what is."""
    have = f"{kind}s here: {', '.join(known)}" if known else f"there is no {kind}s: section with one"
    return Finding(loc, f"there is no {kind} {name!r}{similar(name, known)}; {have}")


def _unclear(value: object) -> bool:
    """Present, but not text: the models or the substitution report it."""
    return value is not None and not isinstance(value, str)


def _clear_text(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname is not None and not is_loopback(parts.hostname)
