"""The command `breakeven drift`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show

Route = Annotated[str | None, typer.Option("--route", help="Only this route.")]
Accept = Annotated[str | None, typer.Option("--accept", help="NAME@VERSION whose traffic on --route, as it is now, is what is usual from now on.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]


def drift(route: Route = None, accept: Accept = None, reason: Reason = "", config: ConfigPath = None, json: Json = False) -> None:
    """How far traffic and answers of each adapter version are from what they were judged on, and what was done about it."""
    from gateway import terminal_drift
    from gateway.admin.drift import DriftBody, accepted, listed
    from gateway.admin.shapes import Listed
    from router.errors import ConfigError
    from router.naming import parse_version

    found = configuration(config)
    if accept is None:
        with database(found) as engine, engine.connect() as conn:
            rows = tuple(DriftBody(**each) for each in listed(conn, route))
        show(Listed[DriftBody](data=rows).model_dump(mode="json"), json, terminal_drift.drift)
        return
    name, _, number = accept.partition("@")
    version = parse_version(number)
    if route is None or version is None:
        raise ConfigError("--accept takes NAME@VERSION and needs --route: breakeven drift --route support-triage --accept support-triage@3")
    with database(found) as engine, engine.begin() as conn:
        body = DriftBody(**accepted(conn, (route, name, version), reason, "command line", time.time()))
    show(body.model_dump(mode="json"), json, terminal_drift.accepted)
