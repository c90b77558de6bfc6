"""The ladder of a route: prompt, examples, structured output, retrieval, fine-tuned, on one suite; and which rung is the cheapest that is good enough.

    zero_shot_hosted    the first hosted candidate as it is
    structured          the same, held to a JSON Schema made from the suite's fields (json_fields) or to the one they share (json_schema)
    few_shot            the same behind the first k examples; few_shot_similar: behind the k most similar ones
    retrieval           the same with passages before the question
    program, …          the route's own candidates with a program; specialised, …: its other candidates as they are
    zero_shot_base      the bare base of the route's engine
    fine_tuned          the adapter version that is asked about

A rung is good enough when its score is at most the floor below the best rung's and no must-pass item is wrong. Not here: asking (evaluate.py), the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.config.models import CandidateConfig, Config
from router.errors import ConfigError
from router.naming import backend_name
from serving import programs
from serving.programs import Spec
from training import statistics
from training.evaluate import RungSpec
from training.results import EvalReport, Rung
from training.scorers import field_f1
from training.suite import Item, Suite

K, PASSAGES = 16, 5
_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Material:
    """What rungs are made of beside the models: worked examples (JSONL) and texts to look things up in."""

    examples: Path | None = None
    documents: Path | None = None
    k: int = K
    passages: int = PASSAGES


@dataclass(frozen=True, slots=True)
class Plan:
    """The rungs to ask, the candidate each would be in the configuration (by rung), and what was left out with the reason."""

    rungs: tuple[RungSpec, ...]
    candidates: Mapping[str, Mapping[str, Any]]
    skipped: tuple[str, ...]

    def only(self, names: Sequence[str]) -> Plan:
        """These rungs alone; all of them for no names. ConfigError for one that there is none of."""
        if not names:
            return self
        unknown = [name for name in names if name not in self.candidates]
        if unknown:
            raise ConfigError(f"--only {', '.join(unknown)}: this route's rungs are {', '.join(self.candidates)}")
        return Plan(tuple(spec for spec in self.rungs if spec.name in names), self.candidates, ())


def plan(config: Config, route: str, suite: Suite, adapter: tuple[str, str, int] | None, material: Material) -> Plan:
    """What to ask of a route. `adapter`: engine, name, version. Local rungs come first: while the hosted
    ones are asked, their minutes close and get their cost."""
    candidates = config.routes[route].candidates
    hosted = next((candidate for candidate in candidates if candidate.kind == "hosted"), None)
    engine = adapter[0] if adapter else next((c.engine for c in candidates if c.engine is not None), None)
    made = _Making()
    if adapter is not None:
        made.add("fine_tuned", RungSpec(backend_name(*adapter), "adapter"), {"engine": adapter[0], "adapter": adapter[1]})
    if engine is not None:
        made.add("zero_shot_base", RungSpec(engine, "base"), {"engine": engine})
    if hosted is not None:
        _hosted(made, hosted, suite, _from_route(candidates, material))
    for candidate in candidates:
        if candidate is not hosted and candidate.program is None and candidate.kind == "hosted":
            made.add(made.free("specialised"), RungSpec(_name(candidate), "other"), _plain(candidate))
        elif candidate.program is not None:
            made.add(made.free("program"), RungSpec(_name(candidate), "other", program=config.programs[candidate.program]), _written(candidate))
    return Plan(tuple(made.rungs), made.candidates, tuple(made.skipped))


def judge(found: EvalReport, floor: float, seed: int = 0) -> list[dict[str, Any]]:
    """Each rung's row: its summary, and how it stands to the best one, paired over the items both answered."""
    best = max((rung for rung in found.rungs), key=lambda rung: (not _vetoed(rung), rung.score))
    rows = []
    for rung in found.rungs:
        compared = _compare(rung, best, seed)
        vetoes = _vetoed(rung)
        good = not vetoes and rung.score >= best.score + min(floor, 0.0) - 1e-9
        rows.append(
            {
                **rung.summary(),
                "good": good,
                "proven": good and (rung is best or (compared is not None and compared.bound > floor)),
                "against": best.rung,
                "difference": None if compared is None else compared.difference,
                "difference_interval": None if compared is None else [compared.low, compared.high],
                "vetoes": vetoes,
            }
        )
    return rows


def recommended(rows: Sequence[Mapping[str, Any]]) -> str:
    """The cheapest rung that is good enough, by running costs; unknown costs come last, ties go to the better score, then to the faster."""

    def order(row: Mapping[str, Any]) -> tuple[bool, bool, float, float, float]:
        cost, late = row["cost_per_1k_nanousd"], row["latency_p50_ms"]
        return (not row["good"], cost is None, cost or 0.0, -row["score"], late if late is not None else float("inf"))

    return str(min(rows, key=order)["rung"])


def fields(found: EvalReport, suite: Suite) -> dict[str, dict[str, float]]:
    """F1 of each field by rung, over the items that expect fields; empty where none does."""
    items = {item.id: item for item in suite.items if item.scorer == "json_fields"}
    if not items:
        return {}
    return {rung.rung: field_f1([(items[r.id].expected, r.answer) for r in rung.results if r.id in items]) for rung in found.rungs}


def deployable(plan: Plan, rung: str) -> str:
    """The rung as a candidate of the route, in YAML as it stands in the configuration."""
    return yaml.safe_dump([plan.candidates[rung]], sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)


def schema_of(items: Sequence[Item]) -> dict[str, Any] | None:
    """The JSON Schema that answers must have: the one all `json_schema` items share, or the names and types of the fields of all `json_fields` items (never
    their values). None where the suite asks for something else, or for different things."""
    if items and all(item.scorer == "json_schema" for item in items):
        return items[0].expected if all(item.expected == items[0].expected for item in items) else None
    if not items or not all(item.scorer == "json_fields" for item in items):
        return None
    kinds: dict[str, set[str]] = {}
    for item in items:
        for key, value in item.expected.items():
            kinds.setdefault(key, set()).add(_TYPES[type(value)])
    if {"array", "object"} & {kind for found in kinds.values() for kind in found}:
        return None  # what is inside them is not known
    if any(set(item.expected) != set(kinds) for item in items):
        return None
    shown = {key: {"type": next(iter(found)) if len(found) == 1 else sorted(found)} for key, found in kinds.items()}
    return {"type": "object", "properties": shown, "required": list(shown), "additionalProperties": False}


class _Making:
    """A plan while it grows."""

    def __init__(self) -> None:
        self.rungs: list[RungSpec] = []
        self.candidates: dict[str, Mapping[str, Any]] = {}
        self.skipped: list[str] = []

    def add(self, name: str, spec: RungSpec, candidate: Mapping[str, Any]) -> None:
        self.rungs.append(RungSpec(spec.model, spec.role, name, spec.program, spec.extra))
        self.candidates[name] = candidate

    def free(self, name: str) -> str:
        number = sum(known == name or known.startswith(f"{name}_") for known in self.candidates) + 1
        return name if number == 1 else f"{name}_{number}"


def _hosted(made: _Making, hosted: CandidateConfig, suite: Suite, material: Material) -> None:
    """The rungs of the first hosted model."""
    model, plain = _name(hosted), _plain(hosted)
    made.add("zero_shot_hosted", RungSpec(model, "hosted"), plain)
    schema = schema_of(suite.items)
    if schema is None:
        made.skipped.append("structured: the suite's items do not share fields of one kind (json_fields) or one schema (json_schema)")
    else:
        shape = {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}}
        made.add("structured", RungSpec(model, "other", extra=shape), plain)
    if material.examples is None:
        made.skipped.append("few_shot, few_shot_similar: no examples; name some with --examples FILE")
    else:
        for name, select in (("few_shot", "first"), ("few_shot_similar", "similar")):
            program = programs.load(Spec(examples=material.examples, k=material.k, select=select))  # type: ignore[arg-type]
            if name == "few_shot_similar" and not program.looks_up:
                made.skipped.append(f"few_shot_similar: there are no more than {material.k} examples to choose from")
                continue
            written = {"examples": str(material.examples), "k": material.k, "select": select}
            made.add(name, RungSpec(model, "other", program=program), {**plain, "program": written})
    if material.documents is None:
        made.skipped.append("retrieval: nothing to look up in; name a file or directory with --documents PATH")
    else:
        program = programs.load(Spec(source=material.documents, passages=material.passages))
        written = {"retrieval": {"source": str(material.documents), "k": material.passages}}
        made.add("retrieval", RungSpec(model, "other", program=program), {**plain, "program": written})


def _from_route(candidates: Sequence[CandidateConfig], material: Material) -> Material:
    """What is not given is taken from the route's own programs."""
    found = [candidate.program for candidate in candidates if candidate.program is not None]
    examples = material.examples or next((program.examples for program in found if program.examples is not None), None)
    documents = material.documents or next((program.retrieval.source for program in found if program.retrieval is not None), None)
    return Material(examples, documents, material.k, material.passages)


def _name(candidate: CandidateConfig) -> str:
    return backend_name(candidate.owner, candidate.model if candidate.kind == "hosted" else candidate.adapter)


def _plain(candidate: CandidateConfig) -> dict[str, Any]:
    return {key: value for key in ("provider", "model", "engine", "adapter") if (value := getattr(candidate, key)) is not None}


def _written(candidate: CandidateConfig) -> dict[str, Any]:
    return {**_plain(candidate), "program": json.loads(candidate.program.model_dump_json(exclude_defaults=True)) if candidate.program else {}}


def _vetoed(rung: Rung) -> list[str]:
    return [result.id for result in rung.results if result.must_pass and not result.right]


def _compare(rung: Rung, best: Rung, seed: int) -> statistics.Comparison | None:
    pairs = [(a, b) for a, b in zip(rung.results, best.results, strict=True) if a.error is None and b.error is None]
    if not pairs:
        return None
    return statistics.compare([a.value for a, _ in pairs], [b.value for _, b in pairs], [(a.right, b.right) for a, b in pairs], seed)
