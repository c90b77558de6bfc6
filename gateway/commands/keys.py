"""The commands `breakeven keys …`: API keys of the gateway, made, listed and revoked in the database, whether or not `serve` runs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, instant, show

app = typer.Typer(no_args_is_help=True, help="API keys of the gateway.")


@app.command("create", epilog="Example: breakeven keys create checkout --route support-triage --rpm 600 --usd-per-day 20")
def create(
    name: str,
    route: Annotated[list[str] | None, typer.Option(help="Only these routes (repeat).")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only these models (repeat).")] = None,
    rpm: int | None = None,
    tpm: int | None = None,
    concurrency: int | None = None,
    usd_per_day: str | None = None,
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339, UTC.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Create a key; the secret is shown once and stored hashed."""
    from gateway import terminal
    from gateway.admin.keys import CreatedKey, shape
    from gateway.store import keys
    from router.money import parse_usd
    from serving.database import writing

    dollars = parse_usd(usd_per_day) if usd_per_day else None
    spec = keys.KeySpec(name, tuple(route or ()) or None, tuple(model or ()) or None, rpm, tpm, concurrency, dollars, instant("--expires-at", expires_at))
    with database(configuration(config)) as engine, writing(engine) as conn:
        key, secret = keys.create(conn, spec, time.time())
    show(CreatedKey(**shape(key, time.time()), key=secret).model_dump(mode="json"), json, terminal.key_created)


@app.command("list", epilog="Example: breakeven keys list")
def listed(config: ConfigPath = None, json: Json = False) -> None:
    """List keys: names, prefixes, limits; never secrets."""
    from gateway import terminal
    from gateway.admin.keys import KeyBody, shape
    from gateway.admin.shapes import Listed
    from gateway.store import keys

    with database(configuration(config)) as engine, engine.connect() as conn:
        found = tuple(KeyBody(**shape(key, time.time())) for key in keys.listed(conn))
    show(Listed[KeyBody](data=found).model_dump(mode="json"), json, terminal.keys)


@app.command("revoke", epilog="Example: breakeven keys revoke key_4f1d2c3b5a697887")
def revoke(key_id: str, config: ConfigPath = None, json: Json = False) -> None:
    """Revoke a key everywhere within a second."""
    from gateway import terminal
    from gateway.admin.keys import KeyBody, shape
    from gateway.store import keys
    from serving.database import writing

    with database(configuration(config)) as engine, writing(engine) as conn:
        key = keys.revoke(conn, key_id, time.time())
    show(KeyBody(**shape(key, time.time())).model_dump(mode="json"), json, terminal.record)
