"""Whether an adapter may take a route's traffic: a pure function from an evaluation to a verdict with reasons.

Public: `judge(report, thresholds, trained_on) -> Gate`, `Thresholds`, `Gate`, `Check`.
Paired throughout: the same items, answered by the route's first candidate (the reference) and by the adapter. A gate admits only where every check
passes. Not here: asking (evaluate.py), keeping the verdict (publish.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from training import statistics
from training.results import EvalReport, Rung
from training.statistics import Comparison

_NAMED = 5  # item ids spelled out in a reason


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is asked of an adapter. `floor` is the route's non-inferiority margin, below 0; shares are of items."""

    floor: float = -0.02
    most_like_base: float = 0.95
    most_validity_drop: float = 0.02
    most_empty: float = 0.01
    most_cut_more: float = 0.02
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `detail` is a sentence with the numbers, whether it passed or not."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict. `reasons` are the details of the checks that failed; `power` says what this suite can and cannot see."""

    admit: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    power: str
    comparison: Comparison | None
    route: str
    candidate: str
    reference: str
    suite_digest: str

    def as_dict(self) -> dict[str, object]:
        """JSON-ready: the shape serving.registry.set_gate keeps (`passed`, `route`, `reason`) and everything the verdict rests on."""
        return {
            "passed": self.admit,
            "route": self.route,
            "reason": "; ".join(self.reasons) or "every check passed",
            "reasons": list(self.reasons),
            "checks": [asdict(check) for check in self.checks],
            "power": self.power,
            "comparison": asdict(self.comparison) if self.comparison else None,
            "candidate": self.candidate,
            "reference": self.reference,
            "suite_sha256": self.suite_digest,
        }


def judge(report: EvalReport, thresholds: Thresholds, trained_on: Sequence[str] = (), distrust: str | None = None) -> Gate:
    """Judge the report's adapter rung against its hosted rung. `trained_on` are ids of items that also stand in the training data; `distrust` says
    why the judge model that scored items does not count."""
    candidate, reference, base = report.rung("adapter"), report.rung("hosted"), report.rung("base")
    if candidate is None or reference is None:
        missing = "adapter" if candidate is None else "hosted"
        check = Check("rungs", passed=False, detail=f"the evaluation has no {missing} rung, so there is nothing to compare; run `breakeven eval` with both")
        return _verdict(report, (check,), "nothing was compared", None)
    pairs = [(a, b) for a, b in zip(candidate.results, reference.results, strict=True) if a.error is None and b.error is None]
    comparison = None
    if pairs:
        rights = [(a.right, b.right) for a, b in pairs]
        comparison = statistics.compare([a.value for a, _ in pairs], [b.value for _, b in pairs], rights, thresholds.seed)
    checks = (
        _complete(candidate, reference),
        _disjoint(trained_on),
        _must_pass(candidate),
        _non_inferior(comparison, thresholds),
        *([_differs(candidate, base, thresholds)] if base else []),
        _valid(candidate, reference, thresholds),
        _empty(candidate, reference, thresholds),
        _cut(candidate, reference, thresholds),
        *([Check("judge", passed=False, detail=distrust)] if distrust else []),
    )
    return _verdict(report, checks, power_statement(comparison, thresholds.floor), comparison)


def power_statement(comparison: Comparison | None, floor: float) -> str:
    """What the suite can see at the disagreement it showed, in points of a hundred."""
    if comparison is None:
        return "no item was answered by both, so nothing can be seen"
    n, variance = comparison.n, assumed_variance(comparison)
    least = 100 * statistics.detectable(n, variance)
    sees = f"{n} items see differences from {least:.1f} points up (80 % power, one-sided 95 % confidence, at the disagreement observed)"
    if floor >= 0:
        return f"{sees}; a floor of {100 * floor:g} points asks for a proven improvement"
    wanted, points = statistics.needed(floor, variance), f"{-100 * floor:g} points"
    if n >= wanted:
        return f"{sees}; a margin of {points} needs {wanted}, so {n} are enough"
    return f"{sees}; a margin of {points} needs {wanted}: {n} items cannot reliably see {points}"


def assumed_variance(comparison: Comparison) -> float:
    """The variance used for power: the observed one, but no less than three disagreements in n would give (none seen is not none there)."""
    return max(comparison.variance, 3.0 / (comparison.n + 3.0))


def _complete(candidate: Rung, reference: Rung) -> Check:
    failed = {rung.model: sum(r.error is not None for r in rung.results) for rung in (candidate, reference)}
    detail = ", ".join(f"{model}: {count} of {len(candidate.results)} items without an answer" for model, count in failed.items())
    return Check("complete", not any(failed.values()), detail)


def _disjoint(trained_on: Sequence[str]) -> Check:
    if not trained_on:
        return Check("disjoint", passed=True, detail="no item's question stands in the training data")
    detail = f"{len(trained_on)} items were trained on ({_some(trained_on)}); remove them from the training data and train again"
    return Check("disjoint", passed=False, detail=detail)


def _must_pass(candidate: Rung) -> Check:
    vetoes = [r.id for r in candidate.results if r.must_pass and not r.right]
    total = sum(r.must_pass for r in candidate.results)
    detail = f"{len(vetoes)} of {total} must-pass items are wrong" + (f": {_some(vetoes)}" if vetoes else "")
    return Check("must_pass", not vetoes, detail)


def _non_inferior(comparison: Comparison | None, thresholds: Thresholds) -> Check:
    if comparison is None:
        return Check("non_inferior", passed=False, detail="no item was answered by both")
    passed = comparison.bound > thresholds.floor
    detail = (
        f"score {comparison.candidate:.4f} against {comparison.reference:.4f}: difference {comparison.difference:+.4f}, "
        f"with 95 % confidence above {comparison.bound:+.4f}; the floor is {thresholds.floor:+.4f}"
    )
    if not passed and comparison.difference > thresholds.floor:
        detail += "; the difference itself is inside the margin, but the suite is too small or the answers disagree too much to prove it"
    return Check("non_inferior", passed, detail)


def _differs(candidate: Rung, base: Rung, thresholds: Thresholds) -> Check:
    same = sum(a.error is None and a.answer == b.answer for a, b in zip(candidate.results, base.results, strict=True)) / len(candidate.results)
    detail = f"{100 * same:.1f} % of the answers equal the bare base's (at most {100 * thresholds.most_like_base:g} %)"
    return Check("differs_from_base", same <= thresholds.most_like_base, detail)


def _valid(candidate: Rung, reference: Rung, thresholds: Thresholds) -> Check:
    return _drop("valid_form", "in the required form", candidate, reference, (lambda r: r.share("valid"), thresholds.most_validity_drop))


def _empty(candidate: Rung, reference: Rung, thresholds: Thresholds) -> Check:
    return _drop("not_empty", "not empty", candidate, reference, (lambda r: 1 - r.share("empty"), thresholds.most_empty))


def _cut(candidate: Rung, reference: Rung, thresholds: Thresholds) -> Check:
    return _drop("ends_itself", "ended by the model itself", candidate, reference, (lambda r: 1 - r.share("cut"), thresholds.most_cut_more))


def _drop(name: str, words: str, candidate: Rung, reference: Rung, rule: tuple[Callable[[Rung], float], float]) -> Check:
    share, most = rule
    mine, theirs = share(candidate), share(reference)
    detail = f"{100 * mine:.1f} % of the answers are {words}, the reference's {100 * theirs:.1f} % (may be {100 * most:g} points less)"
    return Check(name, mine >= theirs - most - 1e-9, detail)


def _verdict(report: EvalReport, checks: tuple[Check, ...], power: str, comparison: Comparison | None) -> Gate:
    failed = tuple(check.detail for check in checks if not check.passed)
    candidate, reference = report.rung("adapter"), report.rung("hosted")
    names = (candidate.model if candidate else "", reference.model if reference else "")
    return Gate(not failed, failed, checks, power, comparison, report.route, *names, report.suite_digest)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
