"""The command `breakeven reconcile`: the ledger beside a provider's own account of what was used and what it costs."""

from __future__ import annotations

import os
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show
from router.errors import ConfigError, DataError, RequestError, UpstreamError

if TYPE_CHECKING:
    from gateway.config.models import Config
    from gateway.usage_export import Export


def reconcile(
    file: Annotated[Path | None, typer.Argument(help="A usage export: pages of the organization usage and costs API as JSON; else the API is asked.")] = None,
    provider: Annotated[str | None, typer.Option(help="Whose account it is; default: the default provider.")] = None,
    since: Annotated[str | None, typer.Option(help="Without a file: from this UTC day on.")] = None,
    until: Annotated[str | None, typer.Option(help="Without a file: to the end of this UTC day.")] = None,
    tolerance: Annotated[str, typer.Option(help="The share of a number that may be missing: 0.01 is one per cent.")] = "0",
    config: ConfigPath = None,
    json: Json = False,
) -> int:
    """Compare the ledger with a provider's account, by day and model: requests, tokens, dollars. Exit code 1 when a difference is beyond the tolerance."""
    from gateway import terminal_prices
    from gateway.reconciliation import Ledger, compare
    from gateway.store import asked

    found, share = configuration(config), _share(tolerance)
    whose = provider or found.server.default_provider
    if whose not in found.providers:
        raise ConfigError(f"--provider {whose!r} is not configured; there are {', '.join(found.providers)}")
    export = _from_api(found, whose, since, until) if file is None else _from_file(file)
    with database(found) as engine, engine.connect() as conn:
        used, paid = (asked.spent(conn, whose, spans) for spans in (export.usage_spans, export.cost_spans))
        cut = asked.interrupted(conn, export.usage_spans or export.cost_spans)
    document = {"provider": whose, **compare(export, Ledger(used, paid, cut), share, time.time())}
    show(document, json, terminal_prices.reconciliation)
    return 0 if document["ok"] else 1


def _share(text: str) -> Decimal:
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal(-1)
    if not share.is_finite() or not 0 <= share <= 1:
        raise ConfigError(f"--tolerance {text!r} must be a share from 0 to 1, such as 0.01")
    return share


def _from_file(file: Path) -> Export:
    from gateway.usage_export import read

    try:
        return read(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    except DataError as error:  # exit code 1 says that the two accounts differ
        raise ConfigError(error.message, error.problems) from error


def _from_api(config: Config, provider: str, since: str | None, until: str | None) -> Export:
    from gateway.store import period
    from gateway.usage_api import admin_key, pages
    from gateway.usage_export import DAY, of_pages

    if since is None or until is None:
        raise ConfigError("which days? give a FILE, or --since 2027-01-01 --until 2027-01-31 to ask the provider")
    key, span = admin_key(provider, os.environ), period.parse(since, until)
    start, end = int(span.since or 0) // DAY * DAY, -(-int(span.until or 0) // DAY) * DAY
    address = str(config.providers[provider].base_url)
    try:
        return of_pages(pages(address, key, start, end), address)
    except DataError as error:
        raise ConfigError(error.message, error.problems) from error
    except (RequestError, UpstreamError) as error:
        raise ConfigError(error.message) from error
