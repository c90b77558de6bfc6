"""The command `breakeven reprice`: costs of settled exchanges corrected by the present prices, and the audit trail of that."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show
from router.errors import BreakevenError, ConfigError

if TYPE_CHECKING:
    from gateway.repricing import Repricer
    from gateway.store.repricings import Repricing

_MOST_LISTED = 1000


def reprice(
    since: Annotated[str | None, typer.Option(help="From this time on (RFC 3339, or a date for the UTC day).")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time (RFC 3339; a date includes that day).")] = None,
    provider: Annotated[str | None, typer.Option(help="Only what was asked of this provider.")] = None,
    model: Annotated[str | None, typer.Option(help="Only what this model answered.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit trail.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change and change nothing.")] = False,
    resume: Annotated[str | None, typer.Option(help="Go on with an interrupted re-pricing (its id).")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the re-pricings there were.")] = False,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Work out anew what settled exchanges of a period cost, by the present prices at each row's own time. May be interrupted; twice changes nothing."""
    from gateway import terminal_prices
    from gateway.admin.prices import RepricingBody
    from gateway.admin.shapes import Listed
    from gateway.repricing import Repricer
    from gateway.store import repricings

    found = configuration(config)
    with database(found) as engine:
        if listing:
            with engine.connect() as conn:
                rows = tuple(RepricingBody.model_validate(repricings.document(item)) for item in repricings.listed(conn, _MOST_LISTED))
            show(Listed[RepricingBody](data=rows).model_dump(mode="json"), json, terminal_prices.repricings)
            return
        repricer = Repricer(engine, found, time.time)
        if provider is not None and provider not in found.providers:
            raise ConfigError(f"--provider {provider!r} is not configured; there are {', '.join(found.providers)}")
        item = repricer.resumed(resume) if resume is not None else _begin(repricer, since, until, provider, model, reason)
        try:
            done = repricer.run(item, terminal_prices.Counting(), dry=dry_run)
        except KeyboardInterrupt:
            again = "nothing was changed" if dry_run else f"what was done is kept; go on with: breakeven reprice --resume {item.id}"
            raise BreakevenError(f"interrupted: {again}") from None
    document = RepricingBody.model_validate(repricings.document(done)).model_dump(mode="json") | {"dry_run": dry_run}
    # a dry run is no entry in the audit trail, so it has no id
    show(document | {"id": None} if dry_run else document, json, terminal_prices.repricing)


def _begin(repricer: Repricer, since: str | None, until: str | None, provider: str | None, model: str | None, reason: str | None) -> Repricing:
    from gateway.store import period

    if since is None or until is None:
        raise ConfigError("which period? write --since 2027-01-01 --until 2027-01-31 (a date includes that day), or --resume ID, or --list")
    span = period.parse(since, until)
    return repricer.begin(_who(), reason, span.since, span.until, provider, model)


def _who() -> str:
    """The user of this machine who corrects the books."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return "unknown"
