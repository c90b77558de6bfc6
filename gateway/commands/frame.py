"""What every command begins and ends with: the configuration, the database, an instant from text, a document shown to people or as JSON.

Here: the shared options and these few functions. Not here: how documents look to people (gateway/terminal.py). Rooms are imported inside the functions, so
that `--help` stays fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from gateway.config.models import Config

ConfigPath = Annotated[Path | None, typer.Option("-c", "--config", help="Configuration file (default: BREAKEVEN_CONFIG, else ./breakeven.yaml).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def configuration(path: Path | None, **server: object) -> Config:
    """The configuration at `path`, else where the environment or the working directory has it. Raises ConfigError with all its problems."""
    from gateway.config.load import find, load

    return load(find(path, os.environ, Path.cwd()), os.environ, {k: v for k, v in server.items() if v is not None})


@contextmanager
def database(config: Config) -> Iterator[Engine]:
    """The database of a configuration, brought to the newest schema."""
    from gateway.store.schema import upgrade
    from serving.database import connect

    engine = connect(config.database, config.source.parent)
    try:
        upgrade(engine)
        yield engine
    finally:
        engine.dispose()


def show(document: Any, as_json: bool, human: Callable[[Any], None]) -> None:
    """Print a document: as JSON, or the way `human` prints it."""
    from gateway import terminal

    if as_json:
        terminal.document(document)
    else:
        human(document)


def instant(option: str, text: str | None) -> float | None:
    """Epoch seconds of an option's RFC 3339 text (UTC where it says nothing). Raises ConfigError naming the option."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is not RFC 3339; write 2027-01-31T12:00:00Z") from error
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
