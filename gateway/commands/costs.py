"""The commands `breakeven costs …`: the ledger for other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show

app = typer.Typer(no_args_is_help=True, help="What requests cost, for other tools.")


class Format(StrEnum):
    """What is written."""

    CSV = "csv"
    PARQUET = "parquet"


@app.command("export", epilog="Example: breakeven costs export --since 2026-11-01 --until 2026-11-30 --out november.csv")
def export(
    out: Annotated[Path, typer.Option(help="The file of exchanges; their attempts go to NAME.attempts.SUFFIX beside it.")],
    since: Annotated[str | None, typer.Option(help="From this time on (RFC 3339, or a date for the UTC day).")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time (RFC 3339; a date includes that day).")] = None,
    format: Annotated[Format, typer.Option(help="CSV, or Parquet where pyarrow is installed.")] = Format.CSV,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Write the ledger's rows to files: one of exchanges, one of their attempts. Memory does not grow with their number."""
    from gateway import terminal
    from gateway.store import period
    from gateway.store.export import export as write
    from router.errors import ConfigError, RequestError

    try:
        span = period.parse(since, until)
    except RequestError as error:
        raise ConfigError(error.message) from error
    with database(configuration(config)) as engine:
        made = write(engine, span, format.value, out)
    document: dict[str, Any] = {"exchanges": made.exchanges, "attempts": made.attempts}
    show(document | {"exchanges_file": str(made.exchanges_file), "attempts_file": str(made.attempts_file)}, json, terminal.record)
