"""Telling somebody about budgets: which shares are spent, and which budget will be before its period ends, by a POST to the configured webhook.

A duty of the controller, from the ledger: requests know nothing of it and never wait. What is decided is kept first (store/alerts.py), once for each
share of each budget and period whatever restarts in between; then it is sent until it arrives. A controller that dies between the receiver's answer and its
own note sends it again, under the same `webhook-id`. Signed as Standard Webhooks has it, where there is a secret.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import orjson

from gateway import quotas
from gateway.forecast import WINDOW_S, Forecast, forecast
from gateway.quotas import PERIODS, Budget
from gateway.reload import budgets
from gateway.store import alerts, keys, spending
from gateway.store.alerts import Alert
from gateway.store.period import rfc3339
from router.money import usd
from serving.database import reading, writing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from gateway.config.budgets import AlertsConfig
    from gateway.config.models import Config

log = logging.getLogger("breakeven.alerts")

# Sums by hour are dearer than sums, and move slowly.
FORESEE_S = 60.0
_TIMEOUT_S = 5.0
_AT_ONCE = 8
# A straight line through the first few dollars of a period says little.
_FORECAST_FROM = 0.25
_SECRET = "whsec_"  # noqa: S105 - how secrets of Standard Webhooks begin


class Alerts:
    """Call `once` again and again with the configuration in force."""

    def __init__(self, database: Engine, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._foreseen = float("-inf")

    async def once(self, config: Config) -> None:
        """Decide what is new, send what is due."""
        url = config.alerts.webhook
        if url is None:
            return
        due = await asyncio.to_thread(self._look, config)
        if not due:
            return
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            await asyncio.gather(*(self._send(client, url, config.alerts, alert) for alert in due))

    def _look(self, config: Config) -> list[Alert]:
        now = self._clock()
        ahead = config.alerts.forecast and now - self._foreseen >= FORESEE_S
        with reading(self._database) as conn:
            wanted = missing(conn, config, now, ahead=ahead)
        if ahead:
            self._foreseen = now
        with writing(self._database) as conn:
            if wanted:
                alerts.decide(conn, wanted)
                alerts.forget(conn, now)
            return alerts.claim(conn, now, _AT_ONCE)

    async def _send(self, client: httpx.AsyncClient, url: str, config: AlertsConfig, alert: Alert) -> None:
        secret = config.secret.get_secret_value() if config.secret is not None else None
        headers = {"content-type": "application/json", "user-agent": "breakeven"} | signature(alert.id, int(self._clock()), alert.body, secret)
        try:
            answer = await client.post(url, content=alert.body.encode(), headers=headers)
            error = None if answer.is_success else f"the webhook answered {answer.status_code}"
        except httpx.HTTPError as failure:
            error = f"the webhook cannot be reached ({type(failure).__name__})"

        def note() -> None:
            with writing(self._database) as conn:
                if error is None:
                    alerts.arrived(conn, alert.id, self._clock())
                else:
                    alerts.failed(conn, alert, error, self._clock())

        await asyncio.to_thread(note)
        if error is not None:
            log.warning("alert %s about %s %r: %s; tried %d times", alert.id, alert.scope, alert.name, error, alert.tries + 1)


def missing(conn: Connection, config: Config, now: float, *, ahead: bool = False) -> list[Alert]:
    """What is worth an alert now and has none; with `ahead` also what will be spent before its period ends."""
    every = quotas.every(budgets(config), keys.snapshot(conn).values(), now)
    wanted: list[Alert] = []
    for period in PERIODS:
        mine = [budget for budget in every if budget.period == period]
        if not mine:
            continue
        since, scopes = quotas.since(period, now), sorted({budget.scope for budget in mine})
        there = {(each.scope, each.name, each.period, each.kind, each.at) for each in alerts.of_period(conn, since)}
        spent = spending.totals(conn, scopes, since)
        hours = spending.by_hour(conn, scopes, max(since, now - WINDOW_S[period])) if ahead else {}
        for budget in mine:
            place = (budget.scope, budget.id)
            found = _of(budget, spent.get(place, 0), forecast(budget, spent.get(place, 0), hours.get(place, {}), now), config.alerts, now)
            wanted += [each for each in found if (each.scope, each.name, each.period, each.kind, each.at) not in there]
    return wanted


def signature(message: str, timestamp: int, body: str, secret: str | None) -> dict[str, str]:
    """The headers of Standard Webhooks: id and time always, the signature (HMAC-SHA256 of all three) with a secret. What begins with `whsec_` is base64."""
    headers = {"webhook-id": message, "webhook-timestamp": str(timestamp)}
    if secret is not None:
        key = base64.b64decode(secret.removeprefix(_SECRET)) if secret.startswith(_SECRET) else secret.encode()
        made = hmac.new(key, f"{message}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
        headers["webhook-signature"] = "v1," + base64.b64encode(made).decode()
    return headers


def _of(budget: Budget, spent: int, ahead: Forecast | None, config: AlertsConfig, now: float) -> list[Alert]:
    found = [_alert("threshold", budget, share, spent, ahead, now) for share in config.at if budget.nanousd and spent >= share * budget.nanousd]
    soon = ahead is not None and ahead.exhausted_at is not None and spent >= _FORECAST_FROM * budget.nanousd
    return [*found, _alert("forecast", budget, 1.0, spent, ahead, now)] if soon else found


def _alert(kind: str, budget: Budget, share: float, spent: int, ahead: Forecast | None, now: float) -> Alert:
    whose = f"The hosted budget of {budget.scope} {budget.name} for this {budget.period}"
    gone_at = None if ahead is None or ahead.exhausted_at is None else rfc3339(ahead.exhausted_at)
    if kind == "threshold":
        said = f"{whose} has passed {share:.0%}: ${usd(spent)} of ${usd(budget.nanousd)} are spent."
    else:
        said = f"{whose} (${usd(budget.nanousd)}) will be spent at {gone_at} at the rate of the last hours."
    since = quotas.since(budget.period, now)
    data = {
        "scope": budget.scope,
        "id": budget.id,
        "name": budget.name,
        "period": budget.period,
        "at": share,
        "limit_nanousd": budget.nanousd,
        "limit_usd": usd(budget.nanousd),
        "spent_nanousd": spent,
        "spent_usd": usd(spent),
        "forecast_nanousd": ahead and ahead.nanousd,
        "forecast_usd": usd(ahead.nanousd) if ahead else None,
        "exhausted_at": gone_at,
        "since": rfc3339(since),
        "resets_at": rfc3339(quotas.until(budget.period, now)),
    }
    body = orjson.dumps({"type": f"budget.{kind}", "timestamp": rfc3339(now), "text": said, "data": data}).decode()
    return Alert(alerts.new_id(), kind, budget.scope, budget.id, budget.period, float(since), share, body, now)
