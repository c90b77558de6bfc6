"""What `breakeven eval` does: the ladder of a route asked through the running gateway, judged, kept. It puts the steps of this room in order.

Not here: which rungs there are (ladder.py), asking (evaluate.py), the gate (gate.py), flags and how documents look to people.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import openai
from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.store import captures, exchanges
from gateway.store import keys as key_store
from gateway.store import ladder as ladder_store
from router.errors import ConfigError, RequestError
from serving import registry
from serving.database import reading, writing
from training import chat, gate, judge, ladder, publish, report, suite
from training.evaluate import Endpoint, Options, evaluate, judge_of
from training.progress import OnProgress, Progress, eta
from training.results import EvalReport

# A minute of GPU time is booked once it is over and everything in it has settled; then the local answers of an evaluation have a cost.
BOOKS_WAIT_S = 90.0
_KEY_LIFE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Judging:
    """What to evaluate: a route, an adapter version of it (None: none), and where the answers and the report go."""

    route: str
    adapter: str | None
    version: int | None
    directory: Path
    concurrency: int = 8
    wait_for_books: bool = True
    material: ladder.Material = field(default_factory=ladder.Material)
    judge: str | None = None
    anchors: Path | None = None
    only: tuple[str, ...] = ()


def run_eval(config: Config, database: Engine, asked: Judging, base_url: str, on_progress: OnProgress) -> dict[str, Any]:
    """Ask the whole ladder through the running gateway; judge; store the ladder with the route and the gate's verdict with the version. The document names the
    report."""
    route = config.routes.get(asked.route)
    if route is None or route.quality.suite is None:
        raise ConfigError(f"routes.{asked.route}.quality.suite is not set in {config.source}: an evaluation needs a suite of gold items")
    items = suite.load(route.quality.suite, config.source.parent)
    steps = ladder.plan(config, asked.route, items, _adapter(config, asked), asked.material).only(asked.only)
    if asked.judge is None and any(item.scorer == "judge" for item in items.items):
        raise ConfigError("the suite has items for a judge: name the judge model with --judge provider/model")
    with _Key(database) as secret:
        options = Options(asked.directory / "answers", asked.concurrency, on_progress=on_progress, judge=asked.judge)
        found = asyncio.run(evaluate(items, asked.route, steps.rungs, Endpoint(base_url, secret), options))
        calibration = _calibrated(asked, Endpoint(base_url, secret))
    found = replace(found, sandbox=any(p.sandbox for p in config.providers.values()))
    found = _with_costs(config, database, found, on_progress, BOOKS_WAIT_S if asked.wait_for_books else 0.0)
    thresholds = gate.Thresholds(floor=route.quality.floor)
    verdict = gate.judge(found, thresholds, _seen_in_traffic(database, asked, items), _distrust(items, calibration))
    climbed = _climbed(found, steps, items, route.quality.floor, calibration)
    written = report.write(asked.directory, found, verdict, climbed)
    now = time.time()  # noqa: TID251  the root of a command
    with writing(database) as conn:
        ladder_store.keep(conn, asked.route, climbed, now)
    if asked.adapter is not None and asked.version is not None:
        publish.publish(database, asked.adapter, asked.version, verdict, now)
    return {
        "route": asked.route,
        "adapter": asked.adapter and f"{asked.adapter}@{asked.version}",
        "items": len(items.items),
        "sandbox": found.sandbox,
        **{key: value for key, value in climbed.items() if key not in ("route", "sandbox")},
        "gate": verdict.as_dict(),
        "report": [str(p) for p in written],
    }


def _adapter(config: Config, asked: Judging) -> tuple[str, str, int] | None:
    """The engine, name and version of the adapter that is asked about."""
    if asked.adapter is None or asked.version is None:
        return None
    engine = next((c.engine for c in config.routes[asked.route].candidates if c.engine is not None and c.adapter == asked.adapter), None)
    if engine is None:
        raise ConfigError(f"route {asked.route} has no candidate {{engine: …, adapter: {asked.adapter}}}")
    return engine, asked.adapter, asked.version


def _calibrated(asked: Judging, endpoint: Endpoint) -> judge.Calibration | None:
    """The judge on the labelled anchors; None without either."""
    if asked.judge is None or asked.anchors is None:
        return None
    anchors, model = judge.load_anchors(asked.anchors), asked.judge

    async def measure() -> judge.Calibration:
        async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=3, timeout=120.0) as client:
            return await judge.calibrate(judge_of(client, model), model, anchors)

    return asyncio.run(measure())


def _distrust(items: suite.Suite, found: judge.Calibration | None) -> str | None:
    """Why the judge's word does not count; None where it does, or where no item needs it."""
    if not any(item.scorer == "judge" for item in items.items):
        return None
    if found is None:
        return "items are scored by a judge that nobody calibrated: name labelled comparisons with --anchors FILE"
    if found.calibrated:
        return None
    wanted = f"it takes {judge.LEAST_KAPPA:g} on {judge.LEAST_ANCHORS} or more"
    return f"the judge {found.model} agrees with people by kappa {found.kappa:.2f} on {found.anchors} anchors; {wanted}"


def _climbed(found: EvalReport, steps: ladder.Plan, items: suite.Suite, floor: float, calibration: judge.Calibration | None) -> dict[str, Any]:
    """The ladder as it is kept and shown."""
    rows = ladder.judge(found, floor)
    best = ladder.recommended(rows)
    return {
        "route": found.route,
        "suite_sha256": found.suite_digest,
        "sandbox": found.sandbox,
        "floor": floor,
        "rungs": rows,
        "recommended_rung": best,
        "candidate": ladder.deployable(steps, best),
        "skipped": list(steps.skipped),
        "fields": ladder.fields(found, items),
        "judge": None if calibration is None else calibration.as_dict(),
    }


class _Key:
    """A key of the gateway for as long as an evaluation lasts, where keys are used at all: creating the first one would close a gateway that is open."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._id: str | None = None

    def __enter__(self) -> str:
        now = time.time()  # noqa: TID251  the root of a command
        with writing(self._database) as conn:
            if not any(key.usable(now) for key in key_store.listed(conn)):
                return "none"
            made, secret = key_store.create(conn, key_store.KeySpec("evaluation", expires_at=now + _KEY_LIFE_S), now)
        self._id = made.id
        time.sleep(1.0)  # every worker sees a new key within a second
        return secret

    def __exit__(self, *_: object) -> None:
        if self._id is not None:
            with writing(self._database) as conn:
                key_store.revoke(conn, self._id, time.time())  # noqa: TID251  the root of a command


def _with_costs(config: Config, database: Engine, found: EvalReport, on_progress: OnProgress, wait_s: float) -> EvalReport:
    """The report with the amortised cost of local answers, once their minutes are closed; those that stay open stay unknown."""
    own = {rung.rung for rung in found.rungs if rung.model.partition("/")[0] in config.engines}
    local = {r.request_id for rung in found.rungs if rung.rung in own for r in rung.results if r.request_id}
    costs: dict[str, int] = {}
    began = time.monotonic()
    while local and any(engine.gpu_hour_nanousd is not None for engine in config.engines.values()):
        with reading(database) as conn:
            costs = exchanges.amortised(conn, local)
        waited = time.monotonic() - began
        on_progress(Progress("booking", len(costs), len(local), waited, eta(int(waited), int(wait_s), waited)))
        if len(costs) == len(local) or waited >= wait_s:
            break
        time.sleep(1.0)
    return replace(found, rungs=tuple(rung.with_costs(costs) if rung.rung in own else rung for rung in found.rungs))


def _seen_in_traffic(database: Engine, asked: Judging, items: suite.Suite) -> list[str]:
    """Ids of suite items whose question also stands in captured traffic: a gate on them would measure memory."""
    with reading(database) as conn:
        found = [
            chat.from_messages([*_messages(c.request), {"role": "assistant", "content": c.response or "-"}], [], 1) for c in captures.iterate(conn, asked.route)
        ]
    return suite.overlap(items, [example for example in found if isinstance(example, chat.Example)])


def _messages(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = request.get("messages")
    return [dict(m) for m in found] if isinstance(found, list) else []


def adapter_version(database: Engine, text: str | None) -> tuple[str | None, int | None]:
    """`NAME@V` or `NAME` (its newest version) as a pair. RequestError 404 for what the registry does not have."""
    if text is None:
        return None, None
    name, _, number = text.partition("@")
    with reading(database) as conn:
        view = registry.view(conn, name)
    if not number:
        return name, max(v.version for v in view.versions)
    known = {str(v.version): v.version for v in view.versions} | {v.digest: v.version for v in view.versions}
    if number not in known:
        raise RequestError(f"adapter {name} has no version {number}; it has {', '.join(str(v.version) for v in view.versions)}", status=404, param="adapter")
    return name, known[number]
