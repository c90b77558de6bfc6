"""What must hold of budgets and alerts: each tag once, each budget with a limit, a webhook where alerts are set up."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping

from gateway.config.checks import Finding, listing, mapping, text
from gateway.config.document import Loc

_PREFIX = "whsec_"


def check_budgets(data: Mapping[str, object]) -> Iterator[Finding]:
    """Every finding about budgets and alerts."""
    seen: dict[str, int] = {}
    for index, entry in enumerate(listing(mapping(data, "budgets"), "tags")):
        loc: Loc = ("budgets", "tags", index)
        if not isinstance(entry, Mapping):
            continue
        tag = text(entry, "tag")
        first = index if tag is None else seen.setdefault(tag, index)
        if first != index:
            yield Finding(loc, f"is about {tag!r}, as tags[{first}] is: put both limits into one entry")
        if all(entry.get(name) in (None, "") for name in ("usd_per_day", "usd_per_month")):
            yield Finding(loc, "sets no limit: add usd_per_day or usd_per_month")
    alerts = mapping(data, "alerts")
    if alerts and "webhook" not in alerts:
        yield Finding(("alerts",), "has no webhook, so nobody is told: add the URL to send alerts to", doubt=True)
    secret = text(alerts, "secret")
    if secret is not None and secret.startswith(_PREFIX) and not _base64(secret.removeprefix(_PREFIX)):
        yield Finding(("alerts", "secret"), f"begins with {_PREFIX} and must go on in base64, as Standard Webhooks has it")


def _base64(value: str) -> bool:
    try:
        return bool(base64.b64decode(value, validate=True))
    except binascii.Error:
        return False
