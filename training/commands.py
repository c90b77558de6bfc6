"""What `breakeven dataset` and `train` do, as plain functions from values to documents. They put the steps of this room in order and decide nothing.

Not here: `eval` (evaluation.py), flags and how documents look to people (breakeven.py, gateway/terminal.py). torch is imported inside `run_training` and
`preview` alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.store import captures, redact
from router.errors import ConfigError
from serving.database import reading
from training import chat, dataset, recipe, sampling, suite, traffic
from training.environment import for_training
from training.progress import OnProgress


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the data is used. `since` (included) and `until` (not) are epoch seconds and for captured traffic; `limit` keeps at most so many examples
    (training.sampling); `blot` are the kinds of personal data (gateway.store.redact.KINDS) to take out on the way."""

    since: float | None = None
    until: float | None = None
    limit: int | None = None
    blot: tuple[str, ...] = ()


EVERYTHING = Wanted()


def from_route(config: Config, database: Engine, route: str, wanted: Wanted = EVERYTHING) -> tuple[list[chat.Example], dict[str, Any]]:
    """The captured traffic of a route as examples, and where they come from. DataError where nothing may be used, with the reasons."""
    if route not in config.routes:
        raise ConfigError(f"there is no route {route!r} in {config.source}; it has {', '.join(sorted(config.routes))}")
    terms = {name: traffic.Terms(p.train_on_outputs, p.sandbox) for name, p in config.providers.items()}
    with reading(database) as conn:
        found = traffic.from_captures(captures.iterate(conn, route, wanted.since, wanted.until), terms, config.engines)
    return list(found.examples), found.source(route)


def build_dataset(config: Config | None, database: Engine | None, source: str | Path, out: Path, wanted: Wanted = EVERYTHING) -> dict[str, Any]:
    """Write the dataset directory `out` from a route's captures (`source` a name, with `config` and `database`) or from a JSONL file (`source` a Path)."""
    held_out: list[str] = []
    if isinstance(source, Path):
        examples = list(dataset.check(source).examples)
        origin: dict[str, Any] = {"file": source.name}
    elif config is not None and database is not None:
        examples, origin = from_route(config, database, source, wanted)
        gold = config.routes[source].quality.suite
        held_out = suite.questions(suite.load(gold)) if gold else []
    else:
        raise ConfigError("a dataset is built from --route NAME or --file PATH")
    if wanted.blot:
        examples, origin = [chat.redacted(example, wanted.blot) for example in examples], {**origin, "redacted": sorted(wanted.blot)}
    if wanted.limit is not None:
        different = list({example.digest: example for example in examples}.values())
        examples, origin = sampling.pick(different, wanted.limit), {**origin, "chosen_from": len(different)}
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
