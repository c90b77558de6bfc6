"""Where a fine-tuning job keeps what it works with: one directory below `data_dir/fine_tuning`, named by its id, gone once the job has ended. Paths alone."""

from __future__ import annotations

from pathlib import Path

TRAINING = "training.jsonl"
VALIDATION = "validation.jsonl"
# Written last by the process that trained: what there is to register.
TRAINED = "trained.json"
# Held by the process that works on the job, so that no second one does.
LOCK = "lock"
# What the guard of the process wrote about it, and what the process said.
RECORD = "process.json"
LOG = "process.log"
_SLOT = "slot"


def root(data_dir: Path) -> Path:
    """The directory of all jobs."""
    return data_dir / "fine_tuning"


def work(data_dir: Path, job_id: str) -> Path:
    """The directory of one job. ValueError for anything that could be another path."""
    if not job_id or not all(letter.isalnum() or letter in "-_" for letter in job_id):
        raise ValueError(f"{job_id!r} is no id")
    return root(data_dir) / job_id


def slot(data_dir: Path) -> Path:
    """Held by whoever trains: one job at a time on this host."""
    return root(data_dir) / _SLOT
