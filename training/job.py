"""One fine-tuning job as a process: read its files, wait for its turn, train, leave what there is to register. The engine's part is the controller's.

Public: `run(config, database, job_id, on_progress, clock) -> dict`. Whatever ends this process, the next one goes on: the state is in the database, the
checkpoints in the run directory. A cancel or a pause is seen between two steps. Not here: the API, registering and loading (gateway/fine_tuning).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.store import fine_tuning, job_files
from gateway.store.fine_tuning import Job
from router.errors import BreakevenError, ConfigError, DataError, Problem
from router.money import usd
from serving.database import reading, writing
from training import dataset, epochs, manifest
from training.chat import Example
from training.dataset import Dataset, Examination
from training.environment import for_training
from training.progress import Numbers, OnProgress, Progress
from training.recipe import Recipe

LEARNING_RATE = 2e-4  # what a multiplier of 1 means (training/recipe.py says where it is from)
MOST_EVENTS, MOST_NAMED = 200, 20
_LOOK_S = 0.5


@dataclass(slots=True)
class _Desk:
    """What the parts of one run share. `cost_nanousd_per_s`: of the engine's GPU, None where its price is unknown."""

    config: Config
    database: Engine
    job: Job
    clock: Callable[[], float]
    on_progress: OnProgress
    told: dict[int, bool] = field(default_factory=dict)  # steps whose numbers the world has -> with validation
    looked: float = 0.0
    stopped: bool = False
    wrote: float = 0.0

    @property
    def work(self) -> Path:
        return job_files.work(self.config.server.data_dir, self.job.id)

    def look(self) -> Job:
        with reading(self.database) as conn:
            self.job = fine_tuning.get(conn, self.job.id) or self.job
        return self.job

    def say(self, message: str, level: str = "info") -> None:
        with writing(self.database) as conn:
            fine_tuning.say(conn, self.job.id, message, self.clock(), level)

    def move(self, to: str, message: str, **values: Any) -> bool:
        with writing(self.database) as conn:
            done = fine_tuning.move(conn, self.job.id, to, self.clock(), **values)
            if done:
                fine_tuning.say(conn, self.job.id, message, self.clock(), "error" if to == "failed" else "info")
        self.look()
        return done

    def fail(self, code: str, message: str, param: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        listed = [{"line": p.line, "key": p.key, "message": p.message} for p in problems[:MOST_EVENTS]]
        error = {"code": code, "message": message, "param": param, **({"problems": listed} if listed else {})}
        self.move("failed", message, error=error)

    def stop(self) -> bool:
        """Whether somebody cancelled or paused the job, by a look every half second."""
        now = time.monotonic()
        if not self.stopped and now - self.looked >= _LOOK_S:
            self.looked = now
            self.stopped = self.look().status != "running"
        return self.stopped

    def progress(self, now: Progress) -> None:
        """How far it is, to the terminal at once and to the database twice a second."""
        self.on_progress(now)
        at = time.monotonic()
        if now.phase != "training" or (at - self.wrote < _LOOK_S and now.done < now.total):
            return
        self.wrote = at
        left = None if now.eta_s is None else self.clock() + now.eta_s
        further = {"failures": 0, "reached": now.done} if now.done > self.job.reached else {}
        with writing(self.database) as conn:
            fine_tuning.put(conn, self.job.id, total=now.total, estimated_finish=left, **further)

    def numbers(self, now: Numbers) -> None:
        """The numbers of a step as an event, once: a run that goes on from a checkpoint sees some steps again."""
        whole = now.valid_loss is not None
        if now.step in self.told and self.told[now.step] >= whole:
            return
        self.told[now.step] = whole
        data = {
            "step": now.step,
            "total_steps": now.total,
            "train_loss": now.train_loss,
            "train_mean_token_accuracy": now.train_accuracy,
            **({"full_valid_loss": now.valid_loss, "full_valid_mean_token_accuracy": now.valid_accuracy} if whole else {}),
        }
        parts = [("training loss", now.train_loss), ("full validation loss", now.valid_loss)]
        said = ", ".join(f"{word}={value:.2f}" for word, value in parts if value is not None)
        with writing(self.database) as conn:
            fine_tuning.say(conn, self.job.id, f"Step {now.step}/{now.total}: {said}", self.clock(), data=data)


def run(config: Config, database: Engine, job_id: str, on_progress: OnProgress, clock: Callable[[], float]) -> dict[str, Any]:
    """Work on a job until there is nothing to do: {job, status, interrupted, waiting, …}. What is wrong with the job ends it; it is not raised.

    Raises RequestError for an id that is no job, SQLAlchemyError when the database does not answer: then the next process goes on.
    """
    with reading(database) as conn:
        job = fine_tuning.get(conn, job_id)
    if job is None:
        raise fine_tuning.no_such_job(job_id)
    desk = _Desk(config, database, job, clock, on_progress)
    begun = clock()
    waiting = interrupted = False
    with _held(desk.work / job_files.LOCK) as mine:
        if not mine:
            return _document(desk, waiting="another process works on it")
        desk.look()
        try:
            data = _validated(desk)
            if data is not None and desk.job.status in {"queued", "running"}:
                with _held(job_files.slot(config.server.data_dir)) as turn:
                    waiting = not turn
                    interrupted = turn and _trained(desk, data)
        except DataError as error:
            head = "The job failed due to an invalid training file. "
            desk.fail("invalid_training_file", head + _listed(error.message, error.problems), "training_file", error.problems)
        except ConfigError as error:
            desk.fail("invalid_base", f"The job failed: {_listed(error.message, error.problems)}", "model", error.problems)
        except BreakevenError as error:
            desk.fail(error.code, f"The job failed: {error.message}")
    desk.look()
    document = _document(desk, waiting="another job is trained; it goes on when that is done" if waiting else None)
    price = config.engines[desk.job.engine].gpu_hour_nanousd if desk.job.engine in config.engines else None
    cost = None if price is None else int(price * (clock() - begun) / 3600)
    return {**document, "interrupted": interrupted, "cost_nanousd": cost, "cost_usd": None if cost is None else usd(cost)}


def _validated(desk: _Desk) -> Dataset | None:
    """The job's data, or None when it failed over it. The first time all that is wrong is told; afterwards the files are the same."""
    job = desk.job
    if job.status not in fine_tuning.WORK:
        return None
    parts: list[tuple[Example, ...]] = []
    for kind, name in (("training", job_files.TRAINING), ("validation", job_files.VALIDATION)):
        path = desk.work / name
        if kind == "validation" and job.validation_file is None:
            parts.append(())
            continue
        found = dataset.examine(path)
        if found.problems:
            _refuse(desk, kind, found)
            return None
        if job.status == "validating_files":
            for warning in found.warnings[:MOST_EVENTS]:
                desk.say(f"{kind} file: {_place(warning)}{warning.message}", "warn")
        parts.append(found.examples)
    if job.status == "validating_files":
        numbers = resolved(job.wishes, len(parts[0]))
        desk.move("queued", "Files validated, moving job to queued state", hyperparameters=numbers)
    digest = dataset.data_digest({"train": parts[0], "validation": parts[1], "test": ()})
    return Dataset(parts[0], parts[1], (), digest)


def _refuse(desk: _Desk, kind: str, found: Examination) -> None:
    param = f"{kind}_file"
    few = not found.examples or all(problem.line is None for problem in found.problems)
    if few and len(found.problems) == 1 and found.problems[0].line is None:
        message = f"{kind.capitalize()} file has {len(found.examples)} example(s), but must have at least {dataset.MIN_EXAMPLES} examples"
        desk.fail("invalid_n_examples", message, param)
        return
    with writing(desk.database) as conn:
        for problem in found.problems[:MOST_EVENTS]:
            key = f"{problem.key}: " if problem.key else ""
            fine_tuning.say(conn, desk.job.id, f"{kind} file: {_place(problem)}{key}{problem.message}", desk.clock(), "error")
    head = f"The job failed due to an invalid {kind} file. Invalid file format. "
    desk.fail(f"invalid_{kind}_file", head + _listed(f"{len(found.problems)} problem(s) in {found.lines} lines", found.problems), param, found.problems)


def _trained(desk: _Desk, data: Dataset) -> bool:
    """Train, and leave the result for the controller. Whether it was interrupted by a signal."""
    if desk.job.status == "queued":
        if not desk.move("running", "Fine-tuning job started", started_at=desk.job.started_at or desk.clock(), retry_at=None):
            return False
    else:
        desk.say("Fine-tuning job goes on from its last checkpoint")
    with reading(desk.database) as conn:
        desk.told = {int(numbers["step"]): numbers.get("full_valid_loss") is not None for numbers in fine_tuning.curve(conn, desk.job.id)}
    os.environ.update(for_training(os.environ))
    from training.train import Options, Trained, train

    wanted = recipe_of(desk.config, desk.job, desk.work)
    kept = desk.work / "epochs"
    options = Options(resume=True, on_progress=desk.progress, on_numbers=desk.numbers, stop=desk.stop, epochs=kept)
    done = train(wanted, data, options)
    if not isinstance(done, Trained):
        return desk.look().status == "running"
    tokens = int(done.manifest["metrics"]["tokens_per_epoch"] * wanted.train.epochs)
    found = [{"path": path.name, "numbers": numbers} for path, numbers in epochs.finished(kept)]
    manifest.write_json(desk.work / job_files.TRAINED, {"adapter": done.path.name, "epochs": found})
    desk.move("loading", "Training is done, the model is loaded and verified", trained_tokens=tokens, estimated_finish=None)
    return False


def recipe_of(config: Config, job: Job, work: Path) -> Recipe:
    """The recipe a job stands for. BreakevenError `invalid_hyperparameters` for what no recipe may say, or the engine could not serve."""
    engine, numbers, local = config.engines.get(job.engine), job.hyperparameters or {}, dict(job.local)
    if engine is None or engine.model is None:
        raise ConfigError(f"there is no engine {job.engine!r} with a `model` in the configuration any more")
    lora = {"r": min(16, engine.max_lora_rank), **_object(local.get("lora"))}
    body: dict[str, Any] = {
        "name": job.adapter,
        "base": engine.model,
        "data": str(work / job_files.TRAINING),
        "quantization": local.get("quantization", "none"),
        "lora": lora,
        "train": {
            "epochs": numbers["n_epochs"],
            "batch_size": numbers["batch_size"],
            "learning_rate": LEARNING_RATE * numbers["learning_rate_multiplier"],
            "seed": job.seed,
            **{name: local[name] for name in ("max_length", "gradient_accumulation") if name in local},
        },
        "output": str(work / "out"),
    }
    try:
        recipe = Recipe.model_validate(body, context={"root": work})
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise BreakevenError(f"hyperparameters that cannot be trained with: {said}", code="invalid_hyperparameters") from None
    if recipe.lora.r > engine.max_lora_rank:
        message = f"lora.r is {recipe.lora.r}, but engines.{job.engine} serves at most {engine.max_lora_rank} (max_lora_rank)"
        raise BreakevenError(message, code="invalid_hyperparameters")
    return recipe


def resolved(wishes: Mapping[str, Any], examples: int) -> dict[str, Any]:
    """Numbers for what was left to us. Few examples are seen more often; a batch is a tenth of them at most, so that an epoch is more than a step or two."""
    own = {
        "n_epochs": 3 if examples < 1000 else 2 if examples < 10_000 else 1,
        "batch_size": max(1, min(16, examples // 10)),
        "learning_rate_multiplier": 1.0,
    }
    return {name: value if wishes.get(name, "auto") == "auto" else wishes[name] for name, value in own.items()}


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether the lock is ours, for as long as the block runs. The kernel lets go of it whatever ends the process."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _document(desk: _Desk, waiting: str | None) -> dict[str, Any]:
    job = desk.job
    error = dict(job.error) if job.error else None
    return {"job": job.id, "status": job.shown_status, "step": job.reached, "total": job.total, "waiting": waiting, "interrupted": False, "error": error}


def _listed(head: str, problems: tuple[Problem, ...]) -> str:
    """All problems in one sentence, up to MOST_NAMED; the events have them all."""
    named = "; ".join(f"{_place(p)}{f'{p.key}: ' if p.key else ''}{p.message}" for p in problems[:MOST_NAMED])
    rest = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
    return f"{head}: {named}{rest}" if named else head


def _place(problem: Problem) -> str:
    return "" if problem.line is None else f"line {problem.line}: "


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
