"""Jobs, events and checkpoints as OpenAI's objects, and the names of what a job makes. Pure."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.store.fine_tuning import MODEL_PREFIX, Checkpoint, Event, Job

_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH = 8
METRICS = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy", "full_valid_loss", "full_valid_mean_token_accuracy")


# Within a second every worker knows a new name (and half that for a busy machine): a job is said to have succeeded when its model can be called at any of them.
SEEN_S = 1.5


def as_seen(found: Job, now: float) -> Job:
    """The job as clients see it at `now` (epoch seconds): it succeeds when its name can be called everywhere."""
    if found.status != "succeeded" or found.finished_at is None or now >= found.finished_at + SEEN_S:
        return found
    return replace(found, status="loading", fine_tuned_model=None, finished_at=None, result_files=())


def job(found: Job, organization: str) -> dict[str, Any]:
    """A `fine_tuning.job` object. Once the files were read the hyperparameters are numbers, before that what was asked for."""
    numbers = dict(found.hyperparameters or found.wishes)
    return {
        "id": found.id,
        "object": "fine_tuning.job",
        "created_at": int(found.created_at),
        "error": dict(found.error) if found.error else None,
        "estimated_finish": _whole(found.estimated_finish),
        "fine_tuned_model": found.fine_tuned_model,
        "finished_at": _whole(found.finished_at),
        "hyperparameters": numbers,
        "integrations": found.integrations or [],
        "metadata": found.metadata,
        "method": {"type": found.method, found.method: {"hyperparameters": numbers}},
        "model": found.model,
        "organization_id": organization,
        "result_files": list(found.result_files),
        "seed": found.seed,
        "status": found.shown_status,
        "trained_tokens": found.trained_tokens,
        "training_file": found.training_file,
        "validation_file": found.validation_file,
        "user_provided_suffix": found.suffix,
    }


def event(found: Event) -> dict[str, Any]:
    """A `fine_tuning.job.event` object."""
    return {
        "id": found.id,
        "object": "fine_tuning.job.event",
        "created_at": int(found.created_at),
        "level": found.level,
        "message": found.message,
        "type": found.type,
        "data": dict(found.data or {}),
    }


def checkpoint(found: Checkpoint) -> dict[str, Any]:
    """A `fine_tuning.job.checkpoint` object."""
    return {
        "id": found.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(found.created_at),
        "fine_tuned_model_checkpoint": found.name,
        "fine_tuning_job_id": found.job,
        "metrics": {"step": found.step, **{name: found.metrics.get(name) for name in METRICS}},
        "step_number": found.step,
    }


def model_name(found: Job, organization: str) -> str:
    """`ft:<base>:<organization>:<suffix>:<id>`: the same for the same job."""
    return f"{MODEL_PREFIX}{_base(found.model)}:{organization}:{_suffix(found.suffix)}:{short_id(found.id)}"


def checkpoint_name(found: Job, organization: str, step: int) -> str:
    """The name of the model after `step`; its id is not that of the finished one, as at OpenAI."""
    own = short_id(f"{found.id} {step}")
    return f"{MODEL_PREFIX}{_base(found.model)}:{organization}:{_suffix(found.suffix)}:{own}:ckpt-step-{step}"


def adapter_name(job_id: str, model: str, suffix: str | None) -> str:
    """The adapter whose versions a job makes: letters and digits that a path and a metric label can hold."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", suffix or _base(model)).strip("-.") or "model"
    return f"ft-{words[:40]}-{short_id(job_id)}"


def short_id(text: str) -> str:
    """Eight letters and digits that follow from `text`."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_ID_LENGTH):
        number, place = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[place])
    return "".join(letters)


def told(numbers: Mapping[str, Any]) -> str:
    """The message of an event with numbers, in OpenAI's words."""
    words = (("training loss", "train_loss"), ("validation loss", "valid_loss"), ("full validation loss", "full_valid_loss"))
    said = ", ".join(f"{word}={numbers[name]:.2f}" for word, name in words if numbers.get(name) is not None)
    return f"Step {numbers['step']}/{numbers['total_steps']}: {said}"


def _base(model: str) -> str:
    return Path(model).name if model.startswith("/") else model


def _suffix(suffix: str | None) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", suffix or "").strip("-")


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
