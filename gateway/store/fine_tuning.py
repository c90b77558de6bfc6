"""Fine-tuning jobs, their events and checkpoints, and the `ft:` names they give. The only writer of `ft_jobs`, `ft_events`, `ft_checkpoints`.

The state machine is the table NEXT; `move` follows it in one conditional UPDATE, so that a cancel, the trainer and the controller cannot all win.
`loading` (trained, on its way into the engine) is shown as `running`: OpenAI's API has no word for it. Instants are epoch seconds.
Not here: the API (gateway/fine_tuning), training (training/job.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, insert, or_, select, update

from gateway.store.ft_tables import ft_checkpoints, ft_events, ft_jobs
from router.errors import RequestError, StateError
from router.naming import backend_name
from serving.database import bump

PREFIX = "ftjob-bk-"
MODEL_PREFIX = "ft:"
# State -> what it may become. A paused job goes back to where it has to begin: to its files, or to the queue.
NEXT: dict[str, frozenset[str]] = {
    "validating_files": frozenset({"queued", "paused", "failed", "cancelled"}),
    "queued": frozenset({"running", "paused", "failed", "cancelled"}),
    "running": frozenset({"loading", "paused", "failed", "cancelled"}),
    "paused": frozenset({"validating_files", "queued", "cancelled"}),
    "loading": frozenset({"succeeded", "failed", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
ENDS = tuple(state for state, following in NEXT.items() if not following)
# States in which a process has something to do.
WORK = ("validating_files", "queued", "running")


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as its row. `key_id` None: made while the gateway had no keys."""

    id: str
    key_id: str | None
    created_at: float
    model: str
    engine: str
    adapter: str
    training_file: str
    seed: int
    validation_file: str | None = None
    suffix: str | None = None
    status: str = "validating_files"
    method: str = "supervised"
    wishes: Mapping[str, Any] = field(default_factory=dict)
    local: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] | None = None
    integrations: list[dict[str, Any]] | None = None
    hyperparameters: Mapping[str, Any] | None = None
    started_at: float | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None
    trained_tokens: int | None = None
    reached: int = 0
    total: int = 0
    version: int | None = None
    fine_tuned_model: str | None = None
    model_deleted: bool = False
    result_files: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    failures: int = 0
    retry_at: float | None = None
    webhook_at: float | None = None
    webhook_tries: int = 0

    @property
    def shown_status(self) -> str:
        """The status in OpenAI's words."""
        return "running" if self.status == "loading" else self.status


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's history."""

    id: str
    created_at: float
    level: str
    message: str
    type: str
    data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after an epoch, callable by `name`."""

    id: str
    job: str
    created_at: float
    step: int
    name: str
    version: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """What an `ft:` name stands for, and whose it is."""

    name: str
    key_id: str | None
    engine: str
    adapter: str
    version: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """Jobs by status, and of each that trains its progress and its latest numbers: (job, name) -> value."""

    statuses: Mapping[str, int]
    numbers: Mapping[tuple[str, ...], float]


def new_id() -> str:
    """An id for a new job."""
    return PREFIX + secrets.token_hex(12)


def is_ours(job_id: str) -> bool:
    """Whether an id is one this program makes; others are a provider's."""
    return job_id.startswith(PREFIX)


def add(conn: Connection, job: Job) -> None:
    """Make a job."""
    values = {name: getattr(job, name) for name in Job.__slots__}
    conn.execute(insert(ft_jobs).values({**values, "result_files": list(job.result_files)}))


def get(conn: Connection, job_id: str) -> Job | None:
    """A job, whoever's."""
    row = conn.execute(select(ft_jobs).where(ft_jobs.c.id == job_id)).one_or_none()
    return None if row is None else _job(row)


def owned(conn: Connection, job_id: str, key_id: str | None) -> Job:
    """A job of that key. RequestError 404 in OpenAI's words: another key's job does not exist."""
    found = get(conn, job_id)
    if found is None or found.key_id != key_id:
        raise no_such_job(job_id)
    return found


def page(conn: Connection, key_id: str | None, limit: int, after: str | None, labels: Mapping[str, str] | None = None) -> tuple[list[Job], bool]:
    """A page of a key's jobs, newest first, and whether there are more. `labels` are metadata they must have; empty: those without metadata."""
    mine = ft_jobs.c.key_id.is_not_distinct_from(key_id)
    chosen = select(ft_jobs).where(mine)
    if labels is not None:
        wanted = [ft_jobs.c.metadata[name].as_string() == value for name, value in labels.items()]
        chosen = chosen.where(*wanted) if wanted else chosen.where(ft_jobs.c.metadata.is_(None))
    if after is not None:
        mark = conn.execute(select(ft_jobs.c.created_at).where(mine, ft_jobs.c.id == after)).scalar()
        if mark is None:
            return [], False
        chosen = chosen.where(or_(ft_jobs.c.created_at < mark, and_(ft_jobs.c.created_at == mark, ft_jobs.c.id < after)))
    rows = conn.execute(chosen.order_by(ft_jobs.c.created_at.desc(), ft_jobs.c.id.desc()).limit(limit + 1)).all()
    return [_job(row) for row in rows[:limit]], len(rows) > limit


def newest(conn: Connection, limit: int = 100) -> list[Job]:
    """The newest jobs of all keys, for operators."""
    return [_job(row) for row in conn.execute(select(ft_jobs).order_by(ft_jobs.c.created_at.desc(), ft_jobs.c.id.desc()).limit(limit))]


def unfinished(conn: Connection) -> list[Job]:
    """Every job that has not ended, oldest first."""
    return _jobs(conn, select(ft_jobs).where(ft_jobs.c.status.not_in(ENDS)))


def to_announce(conn: Connection, now: float) -> list[Job]:
    """Jobs that ended and whose webhook is due."""
    return _jobs(conn, select(ft_jobs).where(ft_jobs.c.webhook_at <= now))


def count_unfinished(conn: Connection, key_id: str | None) -> int:
    """How many jobs of a key have not ended."""
    chosen = select(func.count()).where(ft_jobs.c.key_id.is_not_distinct_from(key_id), ft_jobs.c.status.not_in(ENDS))
    return int(conn.execute(chosen).scalar_one())


def gauges(conn: Connection) -> Gauges:
    """What metrics show."""
    counted = conn.execute(select(ft_jobs.c.status, func.count().label("n")).group_by(ft_jobs.c.status))
    statuses = {row.status: int(row.n) for row in counted}
    numbers: dict[tuple[str, ...], float] = {}
    for job in _jobs(conn, select(ft_jobs).where(ft_jobs.c.status == "running")) if statuses.get("running") else ():
        numbers[job.id, "progress"] = job.reached / job.total if job.total else 0.0
        last = select(ft_events.c.data).where(ft_events.c.job == job.id, ft_events.c.type == "metrics").order_by(ft_events.c.number.desc()).limit(1)
        for name, value in (conn.execute(last).scalar() or {}).items():
            if value is not None:
                numbers[job.id, name] = float(value)
    return Gauges(statuses, numbers)


def move(conn: Connection, job_id: str, to: str, now: float, **values: Any) -> bool:
    """Make a job `to`, with `values` (column=value). An end gets its instant and its webhook. False: it is in no state that leads there."""
    leading = [state for state, following in NEXT.items() if to in following]
    if not leading:
        raise StateError(f"nothing leads to {to!r}")
    if to in ENDS:
        values = {"finished_at": now, "estimated_finish": None, "webhook_at": now, **values}
    done = conn.execute(update(ft_jobs).where(ft_jobs.c.id == job_id, ft_jobs.c.status.in_(leading)).values(status=to, **values)).rowcount > 0
    if done and to == "succeeded":
        bump(conn)  # its name can be called from now on
    return done


def put(conn: Connection, job_id: str, **values: Any) -> None:
    """Set columns other than the status."""
    conn.execute(update(ft_jobs).where(ft_jobs.c.id == job_id).values(**values))


def say(conn: Connection, job_id: str, message: str, now: float, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
    """Append to a job's events; with `data` (numbers of a step) it is of type `metrics`."""
    kind = "message" if data is None else "metrics"
    values = {"id": f"ftevent-{secrets.token_hex(12)}", "job": job_id, "created_at": now, "level": level, "message": message, "type": kind}
    conn.execute(insert(ft_events).values(**values, data=None if data is None else dict(data)))


def events(conn: Connection, job_id: str, limit: int, after: str | None = None) -> tuple[list[Event], bool]:
    """A page of a job's events, newest first, and whether there are more."""
    chosen = select(ft_events).where(ft_events.c.job == job_id)
    if after is not None:
        mark = conn.execute(select(ft_events.c.number).where(ft_events.c.job == job_id, ft_events.c.id == after)).scalar()
        if mark is None:
            return [], False
        chosen = chosen.where(ft_events.c.number < mark)
    rows = conn.execute(chosen.order_by(ft_events.c.number.desc()).limit(limit + 1)).all()
    return [Event(row.id, row.created_at, row.level, row.message, row.type, row.data) for row in rows[:limit]], len(rows) > limit


def curve(conn: Connection, job_id: str) -> list[Mapping[str, Any]]:
    """The numbers of every step that was told, oldest first."""
    chosen = select(ft_events.c.data).where(ft_events.c.job == job_id, ft_events.c.type == "metrics").order_by(ft_events.c.number)
    return [dict(data) for data in conn.execute(chosen).scalars()]


def add_checkpoints(conn: Connection, made: Iterable[Checkpoint]) -> None:
    """Keep checkpoints; one that is there stays."""
    for one in made:
        if conn.execute(select(ft_checkpoints.c.id).where(ft_checkpoints.c.job == one.job, ft_checkpoints.c.step == one.step)).first() is None:
            conn.execute(insert(ft_checkpoints).values({name: getattr(one, name) for name in Checkpoint.__slots__}))


def checkpoints(conn: Connection, job_id: str, limit: int, after: str | None = None) -> tuple[list[Checkpoint], bool]:
    """A page of a job's checkpoints, latest step first, and whether there are more."""
    chosen = select(ft_checkpoints).where(ft_checkpoints.c.job == job_id)
    if after is not None:
        mark = conn.execute(select(ft_checkpoints.c.step).where(ft_checkpoints.c.job == job_id, ft_checkpoints.c.id == after)).scalar()
        if mark is None:
            return [], False
        chosen = chosen.where(ft_checkpoints.c.step < mark)
    rows = conn.execute(chosen.order_by(ft_checkpoints.c.step.desc()).limit(limit + 1)).all()
    return [Checkpoint(**{name: getattr(row, name) for name in Checkpoint.__slots__}) for row in rows[:limit]], len(rows) > limit


def models(conn: Connection) -> dict[str, Model]:
    """Every `ft:` name that can be called, the finished models before their checkpoints."""
    j, c = ft_jobs.c, ft_checkpoints.c
    whole = select(j.fine_tuned_model.label("name"), j.key_id, j.engine, j.adapter, j.version).where(j.status == "succeeded", j.model_deleted.is_(False))
    parts = (
        select(c.name, j.key_id, j.engine, j.adapter, c.version)
        .select_from(ft_checkpoints.join(ft_jobs, j.id == c.job))
        .where(j.status == "succeeded", c.deleted.is_(False), c.name != j.fine_tuned_model)  # the last epoch's is the model itself
        .order_by(j.created_at, c.step)
    )
    found = [Model(*row) for chosen in (whole.order_by(j.created_at), parts) for row in conn.execute(chosen)]
    return {model.name: model for model in found}


def names(conn: Connection) -> dict[str, str]:
    """Every `ft:` name as the candidate it stands for: what workers resolve it with."""
    return {name: backend_name(model.engine, model.adapter, model.version) for name, model in models(conn).items()}


def forget_model(conn: Connection, name: str) -> None:
    """The name can be called no more. Its version is the caller's to retire."""
    conn.execute(update(ft_jobs).where(ft_jobs.c.fine_tuned_model == name).values(model_deleted=True))
    conn.execute(update(ft_checkpoints).where(ft_checkpoints.c.name == name).values(deleted=True))
    bump(conn)


def no_such_job(job_id: str) -> RequestError:
    """OpenAI's answer for an id that names no job of the caller."""
    return RequestError(f"Could not find fine tune: {job_id[:200]}", status=404, param="fine_tuning_job_id", code="fine_tune_not_found")


def _jobs(conn: Connection, chosen: Select[Any]) -> list[Job]:
    return [_job(row) for row in conn.execute(chosen.order_by(ft_jobs.c.created_at, ft_jobs.c.id))]


def _job(row: Row[Any]) -> Job:
    values = {name: getattr(row, name) for name in Job.__slots__}
    return Job(**{**values, "result_files": tuple(row.result_files)})
