"""`breakeven jobs list|show|cancel`: fine-tuning jobs for operators, whoever's they are. They work without a running gateway; the controller acts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show

if TYPE_CHECKING:
    from gateway.store.fine_tuning import Job

app = typer.Typer(no_args_is_help=True, help="Fine-tuning jobs: list, show, cancel.")
_EVENTS = 100


@app.command("list", epilog="Example: breakeven jobs list --json")
def jobs_list(config: ConfigPath = None, json: Json = False) -> None:
    """The newest jobs of all keys."""
    from gateway import terminal_jobs
    from gateway.store import fine_tuning
    from serving.database import reading

    found = configuration(config)
    with database(found) as store, reading(store) as conn:
        data = [_body(job, found.training.organization) for job in fine_tuning.newest(conn)]
    show({"object": "list", "data": data, "has_more": False, "next_cursor": None}, json, terminal_jobs.listed)


@app.command("show", epilog="Example: breakeven jobs show ftjob-bk-0190f3a2")
def jobs_show(job: str, config: ConfigPath = None, json: Json = False) -> None:
    """One job and what happened in it."""
    from gateway import terminal_jobs
    from gateway.fine_tuning import objects
    from gateway.store import fine_tuning
    from serving.database import reading

    found = configuration(config)
    with database(found) as store, reading(store) as conn:
        known = fine_tuning.get(conn, job)
        if known is None:
            raise fine_tuning.no_such_job(job)
        events, _ = fine_tuning.events(conn, job, _EVENTS)
    document = {**_body(known, found.training.organization), "events": [objects.event(event) for event in reversed(events)]}
    show(document, json, terminal_jobs.shown)


@app.command("cancel", epilog="Example: breakeven jobs cancel ftjob-bk-0190f3a2")
def jobs_cancel(job: str, config: ConfigPath = None, json: Json = False) -> None:
    """End a job that has not ended; its process sees it at the next step."""
    from gateway import terminal_jobs
    from gateway.fine_tuning.changes import changed
    from gateway.store import fine_tuning
    from serving.database import writing

    found = configuration(config)
    with database(found) as store, writing(store) as conn:
        known = fine_tuning.get(conn, job)
        if known is None:
            raise fine_tuning.no_such_job(job)
        after = changed(conn, known, "cancel", time.time())
    show({**_body(after, found.training.organization), "events": []}, json, terminal_jobs.shown)


def _body(job: Job, organization: str) -> dict[str, Any]:
    from gateway.fine_tuning import objects

    return {**objects.job(job, organization), "step": job.reached, "total": job.total}
