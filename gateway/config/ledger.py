"""The section `ledger` of the configuration: how long its rows are kept."""

from __future__ import annotations

from gateway.config.section import Section
from gateway.config.values import Days


class LedgerConfig(Section):
    """`retain_days`: exchanges, attempts and decisions older than this are deleted, by whole UTC days; their sums by hour and day stay. None: all are kept."""

    retain_days: Days | None = None
