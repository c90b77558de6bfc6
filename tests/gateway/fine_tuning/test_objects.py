"""gateway/fine_tuning/objects.py: what clients are told of a job."""

from __future__ import annotations

from dataclasses import replace

from gateway.fine_tuning import objects
from gateway.store.fine_tuning import Job

JOB = Job("ftjob-bk-1", None, 1.0, "gpt-4o-mini", "local", "ft-x-1", "file-bk-1", 5)


def test_a_job_succeeds_when_its_name_can_be_called_everywhere() -> None:
    """Workers learn of a name within a second: until then the job runs, and says nothing that could be used."""
    done: Job = replace(JOB, status="succeeded", finished_at=100.0, fine_tuned_model="ft:a", result_files=("file-1",))
    early = objects.job(objects.as_seen(done, 100.5), "o")
    assert (early["status"], early["fine_tuned_model"], early["finished_at"], early["result_files"]) == ("running", None, None, [])
    late = objects.job(objects.as_seen(done, 100.0 + objects.SEEN_S), "o")
    assert (late["status"], late["fine_tuned_model"], late["finished_at"], late["result_files"]) == ("succeeded", "ft:a", 100, ["file-1"])
    failed = replace(done, status="failed", fine_tuned_model=None)
    assert objects.as_seen(failed, 100.0) == failed
