"""Asking a running gateway from a command: where it is, with which key, and what to say when it is not there.

`BREAKEVEN_URL` and `BREAKEVEN_ADMIN_KEY` win over the configuration, so that a command may ask a gateway on another host.
Not here: what is asked for (the commands).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
from sqlalchemy import Engine

from gateway.admin import shapes
from gateway.config.models import Config
from gateway.fleet import Fleet
from gateway.prices import book
from router.errors import RequestError, UpstreamError

_TIMEOUT_S = 15.0


def address(config: Config, environ: Mapping[str, str]) -> str:
    """The gateway's root URL, without a trailing slash."""
    host = config.server.host
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  comparing, not binding
    return (environ.get("BREAKEVEN_URL") or f"http://{reachable}:{config.server.port}").rstrip("/").removesuffix("/v1")


def admin_key(config: Config, environ: Mapping[str, str]) -> str | None:
    """The admin key, if there is one."""
    return environ.get("BREAKEVEN_ADMIN_KEY") or (config.server.admin_key.get_secret_value() if config.server.admin_key else None) or None


def call(config: Config, environ: Mapping[str, str], method: str, path: str, body: Any = None) -> Any:
    """One admin request; its JSON. UpstreamError when nothing listens, RequestError with the gateway's own words when it refuses."""
    key = admin_key(config, environ)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.request(method, address(config, environ) + path, json=body, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
    except httpx.TransportError as error:
        said = f"no gateway answers at {address(config, environ)}: start `breakeven serve` or set BREAKEVEN_URL ({type(error).__name__})"
        raise UpstreamError(said, code="gateway_away") from error
    if answer.status_code >= 400:
        said = answer.json().get("error", {}) if answer.headers.get("content-type", "").startswith("application/json") else {}
        raise RequestError(str(said.get("message") or f"the gateway answered {answer.status_code}"), status=answer.status_code, code=said.get("code"))
    return answer.json()


def explain(config: Config, environ: Mapping[str, str], database: Engine, route: str, body: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The decision a chat body would get now: from the running gateway, which knows its live numbers, else from the database alone."""
    try:
        found: dict[str, Any] = call(config, environ, "POST", f"/admin/routes/{route}/explain", body)
    except UpstreamError:
        if route not in config.routes:
            raise RequestError(f"there is no route {route!r}; {config.source} has {', '.join(sorted(config.routes))}", status=404) from None
        fleet = Fleet(config, database, book(config), lambda: now)
        asyncio.run(fleet.refresh(force=True))
        decision = fleet.explain(route, body)
        plan = fleet.plan(fleet.view, route)
        found = {**shapes.DecisionBody(**shapes.decision(decision, plan.snapshot)).model_dump(mode="json"), "live": False}
    return found
