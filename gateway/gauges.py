"""How a worker is doing at this moment, as gauges: read from what it holds anyway whenever metrics are shown or shared. Nothing is counted here."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from gateway.spending import budgets_of

if TYPE_CHECKING:
    from gateway.context import Gateway

Values = dict[tuple[str, ...], float]
_VERSION = version("breakeven")
_USD = 1e-9


def fill(gateway: Gateway) -> None:
    """Set every gauge of this worker."""
    metrics, fleet, now = gateway.metrics, gateway.fleet, gateway.clock()
    metrics.set("breakeven_build_info", 1.0, _VERSION)
    metrics.set("breakeven_workers", 1.0)
    metrics.set("breakeven_in_flight", gateway.admission.running)
    metrics.set("breakeven_queue_length", gateway.admission.waiting)
    metrics.set("breakeven_ledger_spool_bytes", gateway.spool.backlog_bytes)
    metrics.set("breakeven_ledger_pending_records", gateway.spool.pending)
    metrics.set("breakeven_fleet_stale_seconds", now - fleet.stale_since if fleet.stale_since is not None else 0.0)
    metrics.breakers(fleet.board.breakers(now), fleet.view.backends)
    _routes(gateway)
    _engines(gateway)
    _adapters(gateway)
    _budgets(gateway, now)


def _routes(gateway: Gateway) -> None:
    routes = gateway.fleet.view.routes
    aims: Values = {(name,): plan.snapshot.slo.target for name, plan in routes.items() if plan.snapshot.slo.ttft_ms or plan.snapshot.slo.total_ms}
    gateway.metrics.replace("breakeven_slo_target_ratio", aims)
    hosted = {b.candidate.backend: b.candidate.price for plan in routes.values() for b in plan.backends.values() if b.candidate.kind == "hosted"}
    gateway.metrics.set("breakeven_unpriced_models", sum(price is None for price in hosted.values()))


def _engines(gateway: Gateway) -> None:
    view = gateway.fleet.view
    replicas = [replica for found in view.replicas.values() for replica in found]
    gateway.metrics.replace("breakeven_replica_up", {(r.engine, str(r.index)): float(r.healthy) for r in replicas})
    gateway.metrics.replace("breakeven_engine_replicas", {(name,): float(engine.replica_count) for name, engine in view.config.engines.items()})
    gateway.metrics.replace(
        "breakeven_engine_replicas_up", {(name,): float(sum(r.healthy for r in replicas if r.engine == name)) for name in view.config.engines}
    )


def _adapters(gateway: Gateway) -> None:
    adapters = gateway.fleet.view.adapters.values()
    states: Values = {}
    for adapter in adapters:
        for each in adapter.versions:
            states[(adapter.name, each.state.value)] = states.get((adapter.name, each.state.value), 0.0) + 1.0
    gateway.metrics.replace("breakeven_adapter_versions", states)
    gateway.metrics.replace("breakeven_adapter_live_version", {(a.name,): float(a.live or 0) for a in adapters})
    gateway.metrics.replace("breakeven_adapter_canary_percent", {(a.name,): a.canary_percent if a.canary_version is not None else 0.0 for a in adapters})


def _budgets(gateway: Gateway, now: float) -> None:
    limits: Values = {}
    left: Values = {}
    for budget in budgets_of(gateway):
        labels = (budget.scope, budget.name, budget.period)
        if labels in limits:
            labels = (budget.scope, f"{budget.name} {budget.id}", budget.period)  # two keys of one name
        limits[labels], left[labels] = budget.nanousd * _USD, gateway.limits.account(budget).left(now) * _USD
    gateway.metrics.replace("breakeven_budget_limit_usd", limits)
    gateway.metrics.replace("breakeven_budget_left_usd", left)
