"""Every metric in one table: name, kind, labels, buckets, and how the processes of a host add it up. docs/monitoring.md shows it to people.

Names follow OpenTelemetry's GenAI conventions where it has one, dots as underscores; the rest begin with `breakeven_`. What is counted when is in metrics.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0)
OVERHEAD_SECONDS = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024)

# What a label may be: names of the configuration, words of ours. Should that ever not be enough, whatever comes beyond these bounds counts as OTHER.
OTHER = "other"
MOST_VALUES = 500
MOST_SERIES = 5000


class Row(NamedTuple):
    """One metric. `buckets` are for histograms; `merge` says what a gauge of several processes comes to."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Literal["sum", "max"] = "sum"


_CALL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_BUDGET = ("scope", "name", "period")
_DRIFT = ("route", "version")
_FEATURE = (*_DRIFT, "feature")

_REQUESTS: tuple[Row, ...] = (
    Row("gen_ai_client_token_usage", "histogram", "Tokens of an answer, by type.", (*_CALL, "gen_ai_token_type"), TOKENS),
    Row("gen_ai_server_request_duration", "histogram", "Seconds from the request to the end of the answer.", (*_CALL, "error_type"), SECONDS),
    Row("gen_ai_server_time_to_first_token", "histogram", "Seconds from calling the backend to its first token.", _CALL, SECONDS),
    Row("gen_ai_server_time_per_output_token", "histogram", "Seconds per token after the first.", _CALL, TOKEN_SECONDS),
    Row("breakeven_requests", "counter", "Admitted requests by outcome.", ("route", "backend", "outcome")),
    Row("breakeven_fallback_requests", "counter", "Requests that were answered after another candidate had failed.", ("route",)),
    Row("breakeven_slo_requests", "counter", "Requests measured against what their route aims at: ttft or total, met or missed.", ("route", "aim", "result")),
    Row("breakeven_cost_usd", "counter", "Hosted dollars of answers whose cost is known or estimated.", ("route", "backend", "cost_state")),
    Row("breakeven_all_hosted_usd", "counter", "Dollars that the same answers would have cost at each route's first hosted candidate.", ("route",)),
    Row("breakeven_unpriced_requests", "counter", "Answers whose cost is unknown.", ("route", "backend")),
    Row("breakeven_decisions", "counter", "Decisions by reason.", ("route", "reason")),
    Row("breakeven_attempts", "counter", "Calls to backends by result: ok, or the error.", ("backend", "result")),
    Row("breakeven_refused_requests", "counter", "Requests that were not admitted, by error code.", ("code",)),
    Row("breakeven_overhead_seconds", "histogram", "Gateway time outside the upstream, up to the first byte of the answer.", (), OVERHEAD_SECONDS),
    Row(
        "breakeven_queue_seconds",
        "histogram",
        "Seconds that queued requests waited, by what became of them: in, full, late, gone.",
        ("priority", "result"),
        SECONDS,
    ),
    Row("breakeven_shed_requests", "counter", "Requests sent away with 503: the queue was full, or their wait too long.", ("priority", "reason")),
)
_WORKERS: tuple[Row, ...] = (
    Row("breakeven_build_info", "gauge", "1, with the version of the gateway.", ("version",), merge="max"),
    Row("breakeven_workers", "gauge", "Data-plane processes that said something lately."),
    Row("breakeven_in_flight", "gauge", "Requests being answered."),
    Row("breakeven_queue_length", "gauge", "Requests that wait for a place."),
    Row("breakeven_ledger_pending_records", "gauge", "Settled records that the disk has not taken yet."),
    Row("breakeven_ledger_spool_bytes", "gauge", "Size of the largest worker's spool files; at 512 MiB it refuses requests.", merge="max"),
    Row("breakeven_fleet_stale_seconds", "gauge", "How long the database has not answered; 0 while it does.", merge="max"),
    Row("breakeven_breaker_state", "gauge", "Circuit breaker of a backend: 0 closed, 1 half open, 2 open; the worst worker's.", ("backend",), merge="max"),
    Row("breakeven_replica_up", "gauge", "Whether a vLLM replica is healthy.", ("engine", "replica"), merge="max"),
    Row("breakeven_engine_replicas", "gauge", "vLLM replicas that an engine should have.", ("engine",), merge="max"),
    Row("breakeven_engine_replicas_up", "gauge", "vLLM replicas of an engine that are healthy.", ("engine",), merge="max"),
    Row("breakeven_adapter_live_version", "gauge", "The live version of an adapter; 0: none.", ("adapter",), merge="max"),
    Row("breakeven_adapter_canary_percent", "gauge", "Share of the adapter's requests that its canary gets, percent; 0: no canary.", ("adapter",), merge="max"),
    Row("breakeven_adapter_versions", "gauge", "Versions of an adapter by state.", ("adapter", "state"), merge="max"),
    Row("breakeven_slo_target_ratio", "gauge", "The share of requests that should meet what a route aims at.", ("route",), merge="max"),
    Row("breakeven_budget_limit_usd", "gauge", "What may be spent in a budget's period, dollars.", _BUDGET, merge="max"),
    Row("breakeven_budget_left_usd", "gauge", "What is left of it, reservations of requests under way taken off.", _BUDGET, merge="max"),
    Row("breakeven_unpriced_models", "gauge", "Hosted candidates of routes that nobody has a price for.", merge="max"),
    Row("breakeven_controller_age_seconds", "gauge", "How long ago the controller last said something; no sample: never.", merge="max"),
)
_CONTROLLER: tuple[Row, ...] = (
    Row("breakeven_ledger_rows", "counter", "Exchanges brought from the spool into the database."),
    Row("breakeven_ledger_corrupt_records", "counter", "Spool records that could not be read or stored; they are kept in data_dir/spool/corrupt."),
    Row("breakeven_ledger_interrupted_requests", "counter", "Requests written off because their worker died."),
    Row("breakeven_ledger_backlog_bytes", "gauge", "Bytes in the spool that the database does not have yet.", merge="max"),
    Row("breakeven_ledger_behind_seconds", "gauge", "Age of the oldest record that the database does not have yet; 0: none.", merge="max"),
    Row("breakeven_ledger_open_requests", "gauge", "Admitted requests whose outcome the database does not have yet.", merge="max"),
    Row("breakeven_gpu_cost_usd", "counter", "GPU dollars of closed minutes: allocated to requests, foreign (work of others) or idle.", ("engine", "share")),
    Row("breakeven_engine_poisonings", "counter", "Times a replica was found to compute values that are not numbers, and was restarted.", ("engine",)),
    Row("breakeven_gpu_seconds", "counter", "Seconds that replicas were up, of closed minutes.", ("engine",)),
    Row("breakeven_price_data_age_seconds", "gauge", "Days since the newest price change that the price list knows, in seconds.", merge="max"),
    Row("breakeven_trace_spans", "counter", "Spans for the OTLP endpoint: sent, dropped (the queue was full) or failed (it did not take them).", ("result",)),
    Row("breakeven_trace_queue_length", "gauge", "Spans that wait to be sent.", merge="max"),
    Row("breakeven_drift_level", "gauge", "Drift of an adapter version on a route: 0 none, 1 notify, 2 shadow, 3 stop, 4 retrain.", _DRIFT, merge="max"),
    Row("breakeven_fine_tuning_jobs", "gauge", "Fine-tuning jobs by status.", ("status",), merge="max"),
    Row("breakeven_fine_tuning", "gauge", "Jobs that train: progress (0 to 1) and the numbers of the last step told.", ("job", "number"), merge="max"),
    Row("breakeven_drift", "gauge", "A feature's distance from what is usual, as a share of what chance explains; from 1 on it counts.", _FEATURE, merge="max"),
)
TABLE: tuple[Row, ...] = _REQUESTS + _WORKERS + _CONTROLLER
ROWS: Mapping[str, Row] = {row.name: row for row in TABLE}
