"""The commands `breakeven keys …`: API keys of the gateway, made, changed, rotated, listed and revoked in the database, whether or not `serve` runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, instant, show
from router.errors import ConfigError

if TYPE_CHECKING:
    from gateway.store.keys import KeySpec

app = typer.Typer(no_args_is_help=True, help="API keys of the gateway.")
_NONE = "none"

Routes = Annotated[list[str] | None, typer.Option("--route", help="Only these routes (repeat).")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Only these models (repeat); a name may end in *.")]
Endpoints = Annotated[
    list[str] | None, typer.Option("--endpoint", help="Only these (repeat): chat, completions, embeddings, responses, files, batches, passthrough, pin.")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="NAME=VALUE for each of its requests that does not say otherwise (repeat).")]
Rpm = Annotated[str | None, typer.Option(help="Requests per minute.")]
Tpm = Annotated[str | None, typer.Option(help="Tokens per minute.")]
Concurrency = Annotated[str | None, typer.Option(help="Requests at a time.")]
PerDay = Annotated[str | None, typer.Option(help="Hosted dollars per UTC day.")]
PerMonth = Annotated[str | None, typer.Option(help="Hosted dollars per UTC month.")]
Expires = Annotated[str | None, typer.Option(help="RFC 3339, UTC.")]


@app.command("create", epilog="Example: breakeven keys create checkout --route support-triage --rpm 600 --usd-per-day 20")
def create(
    name: str,
    route: Routes = None,
    model: Models = None,
    endpoint: Endpoints = None,
    tag: Tags = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    usd_per_day: PerDay = None,
    usd_per_month: PerMonth = None,
    expires_at: Expires = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Create a key; the secret is shown once and stored hashed."""
    from gateway import terminal
    from gateway.admin.keys import CreatedKey, shape
    from gateway.store import keys
    from serving.database import writing

    asked = {"routes": route, "models": model, "endpoints": endpoint, "tags": tag, "rpm": rpm, "tpm": tpm, "concurrency": concurrency}
    wanted = _spec(keys.KeySpec(name), asked | {"usd_per_day": usd_per_day, "usd_per_month": usd_per_month, "expires_at": expires_at})
    with database(configuration(config)) as engine, writing(engine) as conn:
        key, secret = keys.create(conn, wanted, time.time())
    show(CreatedKey(**shape(key, time.time()), key=secret).model_dump(mode="json"), json, terminal.key_created)


@app.command("list", epilog="Example: breakeven keys list")
def listed(config: ConfigPath = None, json: Json = False) -> None:
    """List keys: names, prefixes, limits, when they were last used; never secrets."""
    from gateway import terminal
    from gateway.admin.keys import KeyBody, shape
    from gateway.admin.shapes import Listed
    from gateway.store import keys

    with database(configuration(config)) as engine, engine.connect() as conn:
        used = keys.last_used(conn)
        found = tuple(KeyBody(**shape(key, time.time(), used.get(key.id))) for key in keys.listed(conn))
    show(Listed[KeyBody](data=found).model_dump(mode="json"), json, terminal.keys)


@app.command("update", epilog="Example: breakeven keys update key_4f1d2c3b5a697887 --rpm 1200 --usd-per-day none")
def update(
    key_id: str,
    name: str | None = None,
    route: Routes = None,
    model: Models = None,
    endpoint: Endpoints = None,
    tag: Tags = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    usd_per_day: PerDay = None,
    usd_per_month: PerMonth = None,
    expires_at: Expires = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Change a key's limits everywhere within a second: what is not named stays, `none` takes a limit away."""
    from gateway import terminal
    from gateway.admin.keys import KeyBody, shape
    from gateway.store import keys
    from serving.database import writing

    asked = {"name": name, "routes": route, "models": model, "endpoints": endpoint, "tags": tag, "rpm": rpm, "tpm": tpm, "concurrency": concurrency}
    asked |= {"usd_per_day": usd_per_day, "usd_per_month": usd_per_month, "expires_at": expires_at}
    with database(configuration(config)) as engine, writing(engine) as conn:
        key = keys.update(conn, key_id, _spec(keys.spec_of(keys.get(conn, key_id)), asked), time.time())
        used = keys.last_used(conn).get(key_id)
    show(KeyBody(**shape(key, time.time(), used)).model_dump(mode="json"), json, terminal.record)


@app.command("rotate", epilog="Example: breakeven keys rotate key_4f1d2c3b5a697887 --grace-s 3600")
def rotate(
    key_id: str,
    grace_s: Annotated[float, typer.Option(help="For how many seconds the old secret still works; 0: not at all.")] = 86_400.0,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Give a key a new secret, shown once. Its id, limits, files and batches stay, and the old secret works for a while."""
    from gateway import terminal
    from gateway.admin.keys import CreatedKey, shape
    from gateway.store import keys
    from serving.database import writing

    with database(configuration(config)) as engine, writing(engine) as conn:
        key, secret = keys.rotate(conn, key_id, grace_s, time.time())
    show(CreatedKey(**shape(key, time.time()), key=secret).model_dump(mode="json"), json, terminal.key_created)


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


def _spec(before: KeySpec, asked: Mapping[str, Any]) -> KeySpec:
    """A spec with the options that were given. Raises ConfigError naming the option that cannot be read."""
    from dataclasses import replace

    given = {name: value for name, value in asked.items() if value not in (None, [])}
    read: dict[str, Any] = {}
    for name, value in given.items():
        option = "--" + (name.removesuffix("s") if isinstance(value, list) else name.replace("_", "-"))
        cleared = value == _NONE or value == [_NONE]
        read["nano" + name if name.startswith("usd_per_") else name] = None if cleared and name != "name" else _value(option, name, value)
    return replace(before, **read)


def _value(option: str, name: str, value: Any) -> Any:
    from router.money import parse_usd

    try:
        if name in {"rpm", "tpm", "concurrency"}:
            return int(value)
        if name.startswith("usd_per_"):
            return parse_usd(value)
    except ValueError as error:
        raise ConfigError(f"{option} {value!r}: write a number, or none for no limit ({error})") from error
    if name == "expires_at":
        return instant(option, value)
    if name == "tags":
        pairs = [each.partition("=") for each in value]
        if not all(equals for _, equals, _ in pairs):
            raise ConfigError(f"{option}: write NAME=VALUE, such as {option} team=search")
        return {key: worth for key, _, worth in pairs}
    return tuple(value) if isinstance(value, list) else value
