"""From a path to a `Config`, or to every problem at once with its file and line. Reads files, holds no state: a reload is another call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gateway.config.budget_checks import check_budgets
from gateway.config.checks import check
from gateway.config.document import Document, Loc, from_text, read
from gateway.config.models import OPENAI_URL, Config
from gateway.config.price_checks import check_prices
from gateway.config.problems import shape
from gateway.config.programs import loaded
from gateway.config.route_checks import check_routes
from router.errors import ConfigError, Problem

DEFAULT_NAME = "breakeven.yaml"
Model = TypeVar("Model", bound=BaseModel)


def find(path: str | Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """The file to read: `path` (from -c), else `BREAKEVEN_CONFIG`, else ./breakeven.yaml. It need not exist; `load` says so."""
    named = path or environ.get("BREAKEVEN_CONFIG") or DEFAULT_NAME
    return cwd / Path(named).expanduser()


def load(path: Path, environ: Mapping[str, str], server: Mapping[str, object] | None = None) -> Config:
    """The configuration in the file at `path`. `server` holds what the command line says instead of the file (`port`, `workers`).

    Raises ConfigError with every problem, in the order of the file.
    """
    return _build(read(path, environ), path.absolute(), environ, server)


def loads(text: str, path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in `text`, as if it stood in a file at `path`. Raises like `load`."""
    return _build(from_text(text, str(path), environ), path.absolute(), environ, None)


def _build(document: Document, source: Path, environ: Mapping[str, str], server: Mapping[str, object] | None) -> Config:
    data = with_defaults(document.data, environ)
    if server:
        data["server"] = {**_mapping(data.get("server")), **server}
        document.flags = frozenset(("server", name) for name in server)
    found = [] if not document.data else [*check(data, source.parent), *check_prices(data), *check_budgets(data), *check_routes(data, source.parent)]
    doubts = _problems(document, ((f.loc, f.message) for f in found if f.doubt))
    wrong = [(f.loc, f.message) for f in found if not f.doubt]
    context: dict[str, object] = {"root": source.parent, "source": source, "warnings": doubts}
    made = validate(document, Config, data, wrong, context=context)
    named = [candidate.program for route in made.routes.values() for candidate in route.candidates if candidate.program is not None]
    return made.with_programs(loaded(named)) if named else made


def validate(
    document: Document,
    model: type[Model],
    data: Mapping[str, object],
    wrong: Iterable[tuple[Loc, str]] = (),
    *,
    context: Mapping[str, object] | None = None,
) -> Model:
    """`data` (the document's, completed) as a `model`. `wrong` is what checks outside the model found.

    Raises ConfigError with the document's faults, `wrong` and what the model objects to, sorted by their place in the file.
    """
    result: Model | None = None
    objections = list(wrong)
    if document.data:
        try:
            result = model.model_validate(data, context=context)
        except ValidationError as error:
            objections += shape(document, model, error)
    problems = _problems(document, objections)
    if result is None or problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError("\n".join([f"{document.file} has {count}:", *map(str, problems)]), problems)
    return result


def with_defaults(data: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, object]:
    """`data` with the provider every installation has, and OpenAI's key taken from where OpenAI's own client takes it.

    The key goes to OpenAI's address only: a provider with another `base_url` gets the key its entry names.
    """
    given = data.get("providers")
    providers = {"openai": {}} if given is None else given
    if isinstance(providers, Mapping):
        providers = {name: _with_key(section, environ) for name, section in providers.items()}
    return {**data, "providers": providers}


def _with_key(section: object, environ: Mapping[str, str]) -> object:
    provider = {} if section is None else section
    key = environ.get("OPENAI_API_KEY")
    if not key or not isinstance(provider, Mapping) or "api_key" in provider or provider.get("kind", "openai") != "openai":
        return provider
    address = provider.get("base_url", OPENAI_URL)
    return {**provider, "api_key": key} if isinstance(address, str) and address.rstrip("/") == OPENAI_URL else provider


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _problems(document: Document, found: Iterable[tuple[Loc, str]]) -> tuple[Problem, ...]:
    """In file order, each once: an aliased section is wrong in one place however often it is used."""
    faults = [((f.line, f.column), Problem(f.message, document.file, f.line or None)) for f in document.faults]
    placed = [document.problem(loc, message) for loc, message in found]
    unique = {(place, problem.message): problem for place, problem in reversed([*faults, *placed])}
    return tuple(problem for (_, _), problem in sorted(unique.items(), key=lambda item: item[0]))
