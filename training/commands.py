"""What `breakeven dataset`, `train` and `eval` do, as plain functions from values to documents. They put the steps of this room in order and decide nothing.

Not here: flags and how documents look to people (breakeven.py, gateway/terminal.py). torch is imported inside `run_training` and `preview` alone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.store import captures, exchanges, redact
from gateway.store import keys as key_store
from router.errors import ConfigError, RequestError
from router.naming import backend_name
from serving import registry
from serving.database import reading, writing
from training import chat, dataset, gate, publish, recipe, report, suite, traffic
from training.environment import for_training
from training.evaluate import Endpoint, Options, RungSpec, evaluate
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


def from_route(config: Config, database: Engine, route: str) -> tuple[list[chat.Example], dict[str, Any]]:
    """The captured traffic of a route as examples, and where they come from. DataError where nothing may be used, with the reasons."""
    if route not in config.routes:
        raise ConfigError(f"there is no route {route!r} in {config.source}; it has {', '.join(sorted(config.routes))}")
    terms = {name: traffic.Terms(p.train_on_outputs, p.sandbox) for name, p in config.providers.items()}
    with reading(database) as conn:
        found = traffic.from_captures(captures.iterate(conn, route), terms, config.engines)
    return list(found.examples), found.source(route)


def build_dataset(config: Config | None, database: Engine | None, source: str | Path, out: Path, blot: Collection[str] = ()) -> dict[str, Any]:
    """Write the dataset directory `out` from a route's captures (`source` a name, with `config` and `database`) or from a JSONL file (`source` a Path).

    `blot` are the kinds of personal data (gateway.store.redact.KINDS) to take out on the way.
    """
    held_out: list[str] = []
    if isinstance(source, Path):
        examples = list(dataset.check(source).examples)
        origin: dict[str, Any] = {"file": source.name}
    elif config is not None and database is not None:
        examples, origin = from_route(config, database, source)
        gold = config.routes[source].quality.suite
        held_out = suite.questions(suite.load(gold)) if gold else []
    else:
        raise ConfigError("a dataset is built from --route NAME or --file PATH")
    if blot:
        examples, origin = [chat.redacted(example, blot) for example in examples], {**origin, "redacted": sorted(blot)}
    built = dataset.build(out, examples, origin, held_out=held_out)
    warnings = [w.as_dict() for w in dataset.warnings_of(examples, None)]
    return {"path": str(built.path), **built.manifest, "warnings": warnings}


def kinds_of_personal_data(names: Collection[str]) -> tuple[str, ...]:
    """The names, checked. ConfigError for one that does not exist."""
    unknown = sorted(set(names) - redact.KINDS)
    if unknown:
        raise ConfigError(f"--redact {unknown[0]}: there is {', '.join(sorted(redact.KINDS))}")
    return tuple(sorted(names))


def check_dataset(file: Path, against: Path | None) -> dict[str, Any]:
    """What `dataset check` says. Raises DataError with every problem of `file`, and with those of `against`."""
    found = dataset.check(file)
    if against is not None:
        leaks = dataset.leaks(found.examples, dataset.check(against).examples, str(file), str(against))
        found = replace(found, warnings=(*leaks, *found.warnings))
    return found.as_dict()


def preview(base: str, source: Path, count: int) -> list[Any]:
    """The first examples cut into learnt and unlearnt tokens, as the trainer will see them (training.tokens.Preview)."""
    from training import model, tokens

    directory = model.directory(base)
    tokenizer = model.load_tokenizer(directory)
    data = dataset.open_any(source)
    return tokens.preview(tokenizer, data.train[:count], model.stop_ids(directory, tokenizer))


def run_training(path: Path, resume: bool, on_progress: OnProgress, open_config: Callable[[], tuple[Config, Engine]] | None = None) -> dict[str, Any]:
    """Train a recipe: {path, manifest…} or {interrupted: true, run, step, total}. `open_config` is asked for only where the recipe names a route."""
    os.environ.update(for_training(os.environ))
    wanted = recipe.load(path, os.environ)
    data = prepared(wanted, open_config)
    from training.train import Interrupted, train
    from training.train import Options as TrainOptions

    done = train(wanted, data, TrainOptions(resume=resume, on_progress=on_progress))
    if isinstance(done, Interrupted):
        return {"interrupted": True, "run": str(done.run), "step": done.step, "total": done.total, "resume": f"breakeven train {path} --resume"}
    return {"interrupted": False, "path": str(done.path), **done.manifest}


def prepared(wanted: recipe.Recipe, open_config: Callable[[], tuple[Config, Engine]] | None) -> dataset.Dataset:
    """The recipe's data: a built directory, a JSONL file, or a route's captures, built into a directory first."""
    if isinstance(wanted.data, recipe.RouteData):
        # Kept beside the output: a resumed run must see the same examples, not the traffic of today.
        kept = wanted.output.with_name(f"{wanted.output.name}.dataset")
        if not kept.exists():
            config, database = _opened(open_config, f"data: {{route: {wanted.data.route}}}")
            build_dataset(config, database, wanted.data.route, kept)
        return dataset.load(kept)
    return dataset.open_any(wanted.data)


def _opened(open_config: Callable[[], tuple[Config, Engine]] | None, why: str) -> tuple[Config, Engine]:
    if open_config is None:
        raise ConfigError(f"`{why}` needs a configuration: -c breakeven.yaml")
    return open_config()


def run_eval(config: Config, database: Engine, asked: Judging, base_url: str, on_progress: OnProgress) -> dict[str, Any]:
    """Evaluate hosted, bare base and adapter through the running gateway; judge; store the verdict with the version. The document names the report."""
    route = config.routes.get(asked.route)
    if route is None or route.quality.suite is None:
        raise ConfigError(f"routes.{asked.route}.quality.suite is not set in {config.source}: an evaluation needs a suite of gold items")
    items = suite.load(route.quality.suite)
    rungs = _rungs(config, asked)
    with _Key(database) as secret:
        options = Options(asked.directory / "answers", asked.concurrency, on_progress=on_progress)
        found = asyncio.run(evaluate(items, asked.route, rungs, Endpoint(base_url, secret), options))
    found = replace(found, sandbox=any(p.sandbox for p in config.providers.values()))
    if asked.wait_for_books:
        found = _with_costs(config, database, found, on_progress)
    thresholds = gate.Thresholds(floor=route.quality.floor)
    verdict = gate.judge(found, thresholds, _seen_in_traffic(database, asked, items))
    written = report.write(asked.directory, found, verdict)
    if asked.adapter is not None and asked.version is not None:
        publish.publish(database, asked.adapter, asked.version, verdict, time.time())  # noqa: TID251  the root of a command
    return {
        "route": asked.route,
        "adapter": asked.adapter and f"{asked.adapter}@{asked.version}",
        "items": len(items.items),
        "sandbox": found.sandbox,
        "rungs": [rung.summary() for rung in found.rungs],
        "gate": verdict.as_dict(),
        "report": [str(p) for p in written],
    }


def _rungs(config: Config, asked: Judging) -> list[RungSpec]:
    """Adapter and base first: while the hosted rung is asked, their minutes close and get their cost."""
    candidates = config.routes[asked.route].candidates
    engine = next((c.engine for c in candidates if c.engine is not None and c.adapter == asked.adapter), None)
    hosted = next((c for c in candidates if c.kind == "hosted"), None)
    rungs: list[RungSpec] = []
    if asked.adapter is not None:
        if engine is None:
            raise ConfigError(f"route {asked.route} has no candidate {{engine: …, adapter: {asked.adapter}}}")
        rungs.append(RungSpec(backend_name(engine, asked.adapter, asked.version), "adapter"))
    engine = engine or next((c.engine for c in candidates if c.engine is not None), None)
    if engine is not None:
        rungs.append(RungSpec(engine, "base"))
    if hosted is not None:
        rungs.append(RungSpec(backend_name(hosted.owner, hosted.model), "hosted"))
    return rungs


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


def _with_costs(config: Config, database: Engine, found: EvalReport, on_progress: OnProgress) -> EvalReport:
    """The report with the amortised cost of local answers, once their minutes are closed; those that stay open stay unknown."""
    local = {r.request_id for rung in found.rungs if rung.role != "hosted" for r in rung.results if r.request_id}
    if not local or all(engine.gpu_hour_nanousd is None for engine in config.engines.values()):
        return found
    began = time.monotonic()
    costs: dict[str, int] = {}
    while True:
        with reading(database) as conn:
            costs = exchanges.amortised(conn, local)
        waited = time.monotonic() - began
        on_progress(Progress("booking", len(costs), len(local), waited, eta(int(waited), int(BOOKS_WAIT_S), waited)))
        if len(costs) == len(local) or waited > BOOKS_WAIT_S:
            return replace(found, rungs=tuple(rung.with_costs(costs) for rung in found.rungs))
        time.sleep(1.0)


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
