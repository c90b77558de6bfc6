"""What an evaluation found: one result per item and rung, and the numbers drawn from them. Values; no network.

Public: `ItemResult`, `Rung`, `EvalReport`, `percentile`, `as_dict`/`from_dict`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from training.statistics import wilson

Role = Literal["hosted", "base", "adapter", "other"]
# What a rung is called on the ladder where nothing else is said.
NAMES: Mapping[str, str] = {"hosted": "zero_shot_hosted", "base": "zero_shot_base", "adapter": "fine_tuned", "other": "other"}


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One answer judged. `error` is set (and `value` 0) where no answer came. Latency is the client's, milliseconds; cost None is unknown."""

    id: str
    answer: str
    value: float
    right: bool
    valid: bool | None
    detail: str
    must_pass: bool
    finish: str | None = None
    latency_ms: float | None = None
    cost_nanousd: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    request_id: str | None = None
    model: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One way of answering, over the whole suite. `model` is what was asked for, such as `local/support-triage@2`."""

    model: str
    role: Role
    results: tuple[ItemResult, ...]
    name: str = ""

    @property
    def rung(self) -> str:
        """Its name on the ladder."""
        return self.name or NAMES[self.role]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean score: Wilson's, which holds for any score between 0 and 1 and is wide for graded ones."""
        return wilson(sum(r.value for r in self.results), len(self.results))

    def tokens(self, what: Literal["input", "output"]) -> float | None:
        """Mean tokens per answer as the backend counted them; None where it did not."""
        known = [n for r in self.results if (n := r.input_tokens if what == "input" else r.output_tokens) is not None]
        return sum(known) / len(known) if known else None

    @property
    def score(self) -> float:
        """Mean score, 0..1; an item without an answer counts 0."""
        return sum(r.value for r in self.results) / len(self.results)

    @property
    def right_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share that is wholly right."""
        return wilson(sum(r.right for r in self.results), len(self.results))

    def share(self, what: str) -> float:
        """The share of items that are `right`, `valid`, `empty`, `cut` or failed (`error`)."""
        tests: dict[str, Callable[[ItemResult], bool]] = {
            "right": lambda r: r.right,
            "valid": lambda r: r.valid is not False and r.error is None,
            "empty": lambda r: r.error is None and not r.answer.strip(),
            "cut": lambda r: r.finish == "length",
            "error": lambda r: r.error is not None,
        }
        return sum(tests[what](r) for r in self.results) / len(self.results)

    def summary(self) -> dict[str, object]:
        """The numbers of a report's row. Money in nano-dollars per thousand requests, None where any cost is unknown."""
        costs = [r.cost_nanousd for r in self.results if r.error is None]
        known = [c for c in costs if c is not None]
        latencies = [r.latency_ms for r in self.results if r.latency_ms is not None]
        return {
            "model": self.model,
            "role": self.role,
            "rung": self.rung,
            "items": len(self.results),
            "score": self.score,
            "interval": list(self.interval),
            "right": self.share("right"),
            "right_interval": list(self.right_interval),
            "valid": self.share("valid"),
            "empty": self.share("empty"),
            "cut": self.share("cut"),
            "errors": sum(r.error is not None for r in self.results),
            "cost_per_1k_nanousd": round(1000 * sum(known) / len(known)) if known and len(known) == len(costs) else None,
            "latency_p50_ms": percentile(latencies, 0.50),
            "latency_p95_ms": percentile(latencies, 0.95),
            "input_tokens": self.tokens("input"),
            "output_tokens": self.tokens("output"),
        }

    def with_costs(self, costs: Mapping[str, int]) -> Rung:
        """The same local rung with its costs (nano-dollars) by request id, known once their minutes are closed. The others are unknown: what such an answer
        itself says is what was paid to somebody else, which is nothing."""
        filled = tuple(replace(r, cost_nanousd=costs.get(r.request_id or "")) for r in self.results)
        return replace(self, results=filled)


@dataclass(frozen=True, slots=True)
class EvalReport:
    """Every rung of one suite. `reference` and `candidate` are the rungs the gate compares; `sandbox`: some answers came from a sandbox provider."""

    route: str
    suite: str
    suite_digest: str
    rungs: tuple[Rung, ...]
    sandbox: bool = False

    def rung(self, role: Role) -> Rung | None:
        """The first rung of a role."""
        return next((rung for rung in self.rungs if rung.role == role), None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {
            "format": 1,
            "route": self.route,
            "suite": self.suite,
            "suite_sha256": self.suite_digest,
            "sandbox": self.sandbox,
            "rungs": [{**rung.summary(), "results": [asdict(result) for result in rung.results]} for rung in self.rungs],
        }


def from_dict(body: Mapping[str, Any]) -> EvalReport:
    """A report written by `as_dict`."""
    rungs = tuple(Rung(rung["model"], rung["role"], tuple(ItemResult(**result) for result in rung["results"]), _name(rung)) for rung in body["rungs"])
    return EvalReport(body["route"], body["suite"], body["suite_sha256"], rungs, body["sandbox"])


def _name(rung: Mapping[str, Any]) -> str:
    name = str(rung.get("rung", ""))
    return "" if name == NAMES[rung["role"]] else name


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all are not above; None for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
