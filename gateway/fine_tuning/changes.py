"""What a client or an operator may do to a job: cancel, pause, resume. The state is changed at once; the job's process sees it between two steps."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.store import fine_tuning
from gateway.store.fine_tuning import Job
from router.errors import RequestError


def changed(conn: Connection, job: Job, verb: str, now: float) -> Job:
    """The job after cancel, pause or resume; asking for what is so already changes nothing. RequestError 400 for a job that cannot."""
    to = {"cancel": "cancelled", "pause": "paused"}.get(verb) or ("queued" if job.hyperparameters else "validating_files")
    said = {"cancel": "Fine-tuning job cancelled", "pause": "Fine-tuning job paused", "resume": "Fine-tuning job resumed"}[verb]
    if job.status == to or (verb == "resume" and job.status in fine_tuning.WORK):
        return job
    values = {"retry_at": None, "failures": 0} if verb == "resume" else {"estimated_finish": None}
    if (verb == "resume" and job.status != "paused") or not fine_tuning.move(conn, job.id, to, now, **values):
        ended = f"Job has already completed: {job.id}" if job.status in fine_tuning.ENDS else f"Job {job.id} is {job.shown_status}"
        raise RequestError(f"{ended}; it cannot be {to if verb != 'resume' else 'resumed'} any more.", code="invalid_job_state")
    fine_tuning.say(conn, job.id, said, now)
    return fine_tuning.owned(conn, job.id, job.key_id)
