"""Keeping budgets in step with the ledger, beside the requests: what an earlier process spent, what was priced anew, what other hosts on the database spend.

One task per host: the first worker's. It looks at once when budgets are new, else every few seconds, and only ever raises what is known to be spent.
Not here: what the ledger says (store/spending.py), counting what is spent (limits.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from gateway import quotas
from gateway.quotas import PERIODS, Budget
from gateway.store import spending
from serving.database import reading

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from gateway.context import Gateway
    from gateway.store.spending import Spent

log = logging.getLogger("breakeven.budgets")

LOOK_S = 0.5
EVERY_S = 5.0


class Spending:
    """`start` after the fleet is there, `stop` at the end."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, keep: bool) -> None:
        """Take over what was spent; with `keep` go on doing so. SQLAlchemyError: the database does not answer, and no budget would be right."""
        await self.once()
        if keep:
            self._task = asyncio.create_task(self._keep(), name="spending")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def once(self) -> None:
        """Look at the ledger now."""
        gateway = self._gateway
        now, found = gateway.clock(), budgets_of(gateway)
        if not found:
            return
        for budget, nanousd in zip(found, await asyncio.to_thread(spent, gateway.database, found, now), strict=True):
            if nanousd:
                gateway.limits.raise_to(budget, nanousd, now)

    async def _keep(self) -> None:
        gateway, looked, seen = self._gateway, self._gateway.clock(), budgets_of(self._gateway)
        while True:
            await asyncio.sleep(LOOK_S)
            now, found = gateway.clock(), budgets_of(gateway)
            if found == seen and now - looked < EVERY_S:
                continue
            try:
                await self.once()
            except SQLAlchemyError as error:
                log.warning("the ledger does not say what was spent; budgets go on with what is known: %s", error)
            looked, seen = now, found


def budgets_of(gateway: Gateway) -> list[Budget]:
    """Every budget in force."""
    return quotas.every(gateway.limits.budgets, gateway.fleet.view.keys.values(), gateway.clock())


def spent(database: Engine, budgets: Sequence[Budget], now: float) -> list[int]:
    """What the ledger says was spent of each in the period of `now`. Blocking."""
    found: dict[str, Spent] = {}
    with reading(database) as conn:
        for period in PERIODS:
            scopes = {budget.scope for budget in budgets if budget.period == period}
            if scopes:
                found[period] = spending.totals(conn, sorted(scopes), quotas.since(period, now))
    return [found[budget.period].get((budget.scope, budget.id), 0) for budget in budgets]
