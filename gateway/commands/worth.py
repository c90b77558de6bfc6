"""The command `breakeven worth`: the verdict on a route, for people, as JSON, as a page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show
from router.errors import ConfigError, RequestError


def worth(
    route: str,
    assume: Annotated[list[str] | None, typer.Option("--assume", help="NAME=NUMBER instead of an assumption, such as engineering_weeks=2 (repeat).")] = None,
    tokens_per_day: Annotated[float | None, typer.Option(help="Instead of the ledger's traffic.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures there.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Say whether training your own is worth it for a route: verdict, monthly costs, break-even, what it depends on. A *not yet* is an answer: exit code 0."""
    from gateway import terminal_worth, worth_page
    from gateway import worth as gathering
    from serving.database import reading

    if tokens_per_day is not None and not 0.0 < tokens_per_day < float("inf"):
        raise ConfigError("--tokens-per-day must be more than 0")
    asked = gathering.Asked(route, gathering.stated(assume or (), "--assume"), tokens_per_day)
    found = configuration(config)
    with database(found) as engine, reading(engine) as conn:
        try:
            document = gathering.document(conn, found, asked, time.time())
        except RequestError as error:
            raise ConfigError(error.message) from error
    if html is not None:
        html.write_text(worth_page.page(document), encoding="utf-8")
    show(document, json, terminal_worth.verdict)
