"""The end of a job in the controller: what was trained is registered, loaded on every replica and verified; only then has the job succeeded.

Everything here may be done again: registering the same content gives the same version, and the last step is one transaction.
Not here: when (runner.py), the rules of versions (serving).
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine

from gateway.config.models import Config
from gateway.engine_specs import intake
from gateway.fine_tuning import objects
from gateway.store import content, files, fine_tuning, job_files
from gateway.store.files import File
from gateway.store.fine_tuning import Checkpoint, Job
from router.errors import AdapterRefused, BreakevenError, RequestError
from serving import registry
from serving.database import reading, writing
from serving.intake import add
from serving.states import State
from serving.verbs import Change

ACTOR = "fine-tuning API"
_VERSIONS = "versions.json"
_COLUMNS = (("train_loss", "train_loss"), ("train_accuracy", "train_mean_token_accuracy"), ("valid_loss", "full_valid_loss"))
_LAST = ("valid_mean_token_accuracy", "full_valid_mean_token_accuracy")


@dataclass(frozen=True, slots=True)
class Made:
    """A version that a job made: after `step`, with its numbers; the finished model is the one without a step."""

    version: int
    step: int | None
    numbers: Mapping[str, Any]


def finish(database: Engine, config: Config, job: Job, environ: Mapping[str, str], now: float) -> None:
    """One look at a job that is `loading`: register, ask for the load, or, where all is loaded and verified, let it succeed. Refusals fail the job.

    OSError and SQLAlchemyError leave it as it is: look again.
    """
    try:
        made = _registered(database, config, job, environ, now)
        if _loaded(database, job, made):
            _succeed(database, config, job, made, now)
    except AdapterRefused as error:
        _fail(database, job, "adapter_refused", f"The trained model was refused: {error.message}", now)
    except (RequestError, FileNotFoundError) as error:
        said = error.message if isinstance(error, BreakevenError) else f"what was trained is not on this host ({error})"
        _fail(database, job, "internal_error", f"The trained model could not be registered: {said}", now)


def clear(database: Engine, config: Config, job: Job, now: float) -> None:
    """What a job that ended leaves: its directory; and where it did not succeed, versions that were registered already."""
    if job.status != "succeeded":
        with writing(database) as conn:
            known = registry.views(conn).get(job.adapter)
            for version in known.versions if known else ():
                if version.state in {State.REGISTERED, State.LOADED}:
                    registry.request(conn, Change("retire", job.adapter, version.version, reason=f"job {job.status}", actor=ACTOR), {}, now)
    shutil.rmtree(job_files.work(config.server.data_dir, job.id), ignore_errors=True)


def _registered(database: Engine, config: Config, job: Job, environ: Mapping[str, str], now: float) -> list[Made]:
    """The job's versions, registered and wanted; the checkpoints come first, so that the newest version is the finished model."""
    work = job_files.work(config.server.data_dir, job.id)
    note = work / _VERSIONS
    if note.exists():
        return [Made(**one) for one in json.loads(note.read_text(encoding="utf-8"))]
    found = json.loads((work / job_files.TRAINED).read_text(encoding="utf-8"))
    into = replace(intake(config, job.engine, environ), roots=(work,))
    *earlier, last = found["epochs"] or [{"path": "", "numbers": {}}]
    paths = [(one["numbers"]["step"], work / "epochs" / one["path"], one["numbers"]) for one in earlier]
    paths.append((None, work / found["adapter"], last["numbers"]))
    made = [Made(add(database, into, job.adapter, str(path), ACTOR, now).version, step, numbers) for step, path, numbers in paths]
    with writing(database) as conn:
        for one in made:
            registry.request(conn, Change("load", job.adapter, one.version, actor=ACTOR), {}, now)
    partial = note.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(one) for one in made]), encoding="utf-8")
    partial.replace(note)
    return made


def _loaded(database: Engine, job: Job, made: Sequence[Made]) -> bool:
    """Whether every version is loaded and verified. AdapterRefused where the engine or the verification refused one."""
    with reading(database) as conn:
        view = registry.view(conn, job.adapter)
    versions = [view.version(one.version) for one in made]
    refused = [version for version in versions if version is not None and version.state is State.REFUSED]
    if refused:
        reasons = tuple(reason for version in refused for reason in version.reasons)
        raise AdapterRefused("; ".join(reason.message for reason in reasons) or "no reason was recorded", reasons)
    return all(version is not None and version.state is State.LOADED for version in versions)


def _succeed(database: Engine, config: Config, job: Job, made: Sequence[Made], now: float) -> None:
    data_dir, organization = config.server.data_dir, config.training.organization
    name = objects.model_name(job, organization)
    with reading(database) as conn:
        text = table(fine_tuning.curve(conn, job.id))
    result = File(files.new_id(), job.key_id, "step_metrics.csv", "fine-tune-results", len(text), now)
    incoming = content.Incoming(data_dir, len(text))
    try:
        incoming.write(text)
        incoming.keep(result.id)
    finally:
        incoming.discard()
    found: dict[str, Any] = {"fine_tuned_model": name, "version": made[-1].version, "result_files": [result.id]}
    with writing(database) as conn:
        if fine_tuning.move(conn, job.id, "succeeded", now, webhook_at=now + objects.SEEN_S, **found):
            files.add(conn, result)
            _checkpoints(conn, job, organization, name, made, now)
            fine_tuning.say(conn, job.id, f"New fine-tuned model created: {name}", now)
            fine_tuning.say(conn, job.id, "The job has successfully completed", now)


def _checkpoints(conn: Connection, job: Job, organization: str, name: str, made: Sequence[Made], now: float) -> None:
    kept = []
    for one in made:
        step = one.step if one.step is not None else one.numbers.get("step")
        if step is None:
            continue
        own = name if one.step is None else objects.checkpoint_name(job, organization, step)
        metrics = {
            "train_loss": one.numbers.get("train_loss"),
            "train_mean_token_accuracy": one.numbers.get("train_accuracy"),
            "full_valid_loss": one.numbers.get("valid_loss"),
            "full_valid_mean_token_accuracy": one.numbers.get("valid_accuracy"),
        }
        kept.append(Checkpoint(f"ftckpt_{objects.short_id(own)}{objects.short_id(job.id)}", job.id, now, step, own, one.version, metrics))
        if one.step is not None:
            fine_tuning.say(conn, job.id, f"Checkpoint created at step {step} with Snapshot ID: {own}", now)
    fine_tuning.add_checkpoints(conn, kept)


def table(curve: Sequence[Mapping[str, Any]]) -> bytes:
    """The result file: one row per step, in base64, as OpenAI's API gives it out and its clients expect it."""
    rows: dict[int, dict[str, Any]] = {}
    for numbers in curve:
        rows.setdefault(int(numbers["step"]), {}).update(numbers)
    columns = (*_COLUMNS, _LAST)
    lines = [",".join(("step", *(name for name, _ in columns)))]
    for step, numbers in sorted(rows.items()):
        lines.append(",".join((str(step), *("" if numbers.get(key) is None else f"{numbers[key]:.5f}" for _, key in columns))))
    return base64.b64encode(("\n".join(lines) + "\n").encode())


def _fail(database: Engine, job: Job, code: str, message: str, now: float) -> None:
    with writing(database) as conn:
        if fine_tuning.move(conn, job.id, "failed", now, error={"code": code, "message": message, "param": None}):
            fine_tuning.say(conn, job.id, message, now, "error")
