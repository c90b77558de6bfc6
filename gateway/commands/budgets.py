"""The command `breakeven budgets`."""

from __future__ import annotations

import os
import time

from gateway.commands.frame import ConfigPath, Json, configuration, database, show


def budgets(config: ConfigPath = None, json: Json = False) -> None:
    """What keys, routes and tags may spend by day and month, and how it is going: asked of the running gateway, else read from the ledger."""
    from gateway import quotas, remote, terminal_budgets
    from gateway.admin.budgets import BudgetBody, listed
    from gateway.admin.shapes import Listed
    from gateway.reload import budgets as of_config
    from gateway.store import keys
    from router.errors import UpstreamError

    found = configuration(config)
    try:
        document = remote.call(found, os.environ, "GET", "/admin/budgets")
    except UpstreamError:
        now = time.time()
        with database(found) as engine, engine.connect() as conn:
            every = quotas.every(of_config(found), keys.listed(conn), now)
            rows = tuple(BudgetBody(**each) for each in listed(conn, every, now))
        document = {**Listed[BudgetBody](data=rows).model_dump(mode="json"), "live": False}
    show(document, json, terminal_budgets.budgets)
