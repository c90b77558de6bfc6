"""`/v1/fine_tuning/jobs` as the official client uses it."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest

from gateway.store import fine_tuning, job_files
from gateway.store.fine_tuning import Checkpoint
from serving.database import reading, writing
from tests.gateway.live_gateway import LiveGateway


def test_a_job_has_every_field_of_the_object(sdk: openai.OpenAI, file_id: str) -> None:
    """What create answers is what retrieve answers, with what was asked for and OpenAI's defaults."""
    made = sdk.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18",
        training_file=file_id,
        validation_file=file_id,
        suffix="triage",
        seed=7,
        metadata={"team": "support"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5}}},
    )
    assert made.id.startswith("ftjob-")
    assert (made.object, made.status, made.model, made.seed) == ("fine_tuning.job", "validating_files", "gpt-4o-mini-2024-07-18", 7)
    assert (made.training_file, made.validation_file, made.metadata) == (file_id, file_id, {"team": "support"})
    assert (made.error, made.fine_tuned_model, made.finished_at, made.trained_tokens, made.result_files) == (None, None, None, None, [])
    assert made.method is not None
    assert made.method.supervised is not None
    assert made.method.supervised.hyperparameters is not None
    assert made.hyperparameters.to_dict() == {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5}
    assert made.method.supervised.hyperparameters.to_dict() == made.hyperparameters.to_dict()
    assert made.organization_id == "acme"
    assert sdk.fine_tuning.jobs.retrieve(made.id).to_dict() == made.to_dict()


def test_the_first_events_are_openais(sdk: openai.OpenAI, file_id: str) -> None:
    """Newest first, with the words of OpenAI."""
    made = sdk.fine_tuning.jobs.create(model="local", training_file=file_id)
    said = sdk.fine_tuning.jobs.list_events(made.id)
    assert [event.message for event in said.data] == [f"Validating training file: {file_id}", f"Created fine-tuning job: {made.id}"]
    assert {(event.object, event.level, event.type) for event in said.data} == {("fine_tuning.job.event", "info", "message")}


def test_a_job_keeps_its_files(gateway: LiveGateway, sdk: openai.OpenAI, file_id: str) -> None:
    """The client may delete the file once the job is made."""
    made = sdk.fine_tuning.jobs.create(model="local", training_file=file_id)
    sdk.files.delete(file_id)
    assert (job_files.work(gateway.config.server.data_dir, made.id) / job_files.TRAINING).read_bytes().count(b"\n") == 12


def test_lists_go_page_by_page(gateway: LiveGateway, sdk: openai.OpenAI, file_id: str) -> None:
    """The client's own iterator finds every job once, newest first; metadata filters; events and checkpoints have pages too."""
    made = [sdk.fine_tuning.jobs.create(model="local", training_file=file_id, metadata={"n": str(i)} if i else None).id for i in range(5)]
    assert [job.id for job in sdk.fine_tuning.jobs.list(limit=2)] == made[::-1]
    assert [job.id for job in sdk.fine_tuning.jobs.list(metadata={"n": "3"})] == [made[3]]
    assert [job.id for job in sdk.fine_tuning.jobs.list(extra_query={"metadata": "null"})] == [made[0]]
    with writing(gateway.database) as conn:
        for step in range(4):
            fine_tuning.say(conn, made[0], f"Step {step}", time.time(), data={"step": step})
        fine_tuning.add_checkpoints(conn, [Checkpoint(f"ftckpt_{i}", made[0], time.time(), i, f"ft:x:{i}", i, {"train_loss": 0.5}) for i in (1, 2, 3)])
    events = list(sdk.fine_tuning.jobs.list_events(made[0], limit=2))
    assert len(events) == 6
    assert [event.message for event in events[:4]] == ["Step 3", "Step 2", "Step 1", "Step 0"]
    kept = list(sdk.fine_tuning.jobs.checkpoints.list(made[0], limit=2))
    assert [(point.step_number, point.fine_tuned_model_checkpoint, point.metrics.train_loss) for point in kept] == [(i, f"ft:x:{i}", 0.5) for i in (3, 2, 1)]


def test_cancel_pause_and_resume(sdk: openai.OpenAI, file_id: str) -> None:
    """Each answers the changed job at once; asked again nothing changes; an end is an end."""
    made = sdk.fine_tuning.jobs.create(model="local", training_file=file_id)
    assert str(sdk.fine_tuning.jobs.pause(made.id).status) == "paused"
    assert str(sdk.fine_tuning.jobs.pause(made.id).status) == "paused"
    assert sdk.fine_tuning.jobs.resume(made.id).status == "validating_files"
    assert sdk.fine_tuning.jobs.resume(made.id).status == "validating_files"
    ended = sdk.fine_tuning.jobs.cancel(made.id)
    assert ended.status == "cancelled"
    assert ended.finished_at is not None
    for verb in (sdk.fine_tuning.jobs.pause, sdk.fine_tuning.jobs.resume):
        with pytest.raises(openai.BadRequestError, match="already completed"):
            verb(made.id)
    assert sdk.fine_tuning.jobs.cancel(made.id).status == "cancelled"


WRONG: list[tuple[dict[str, Any], str | None, str]] = [
    ({"model": "gpt-9"}, "model_not_available", "model"),
    ({"model": "gpt-far"}, "model_not_available", "model"),
    ({"training_file": "file-bk-none"}, "file_not_found", "training_file"),
    ({"validation_file": "file-bk-none"}, "file_not_found", "validation_file"),
    ({"suffix": "x" * 65}, "invalid_value", "suffix"),
    ({"seed": -1}, "invalid_value", "seed"),
    ({"metadata": {str(i): "x" for i in range(17)}}, "invalid_value", "metadata"),
    ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "unsupported_value", "integrations"),
    ({"method": {"type": "dpo", "dpo": {}}}, "unsupported_value", "method.type"),
    ({"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}, "unsupported_value", "method.type"),
    ({"method": {"type": "magic"}}, "invalid_value", "method.type"),
    ({"hyperparameters": {"n_epochs": 51}}, "invalid_value", "hyperparameters.n_epochs"),
    ({"hyperparameters": {"n_epochs": 1.5}}, "invalid_value", "hyperparameters.n_epochs"),
    ({"hyperparameters": {"batch_size": "many"}}, "invalid_value", "hyperparameters.batch_size"),
    ({"hyperparameters": {"learning_rate_multiplier": 0}}, "invalid_value", "hyperparameters.learning_rate_multiplier"),
    ({"hyperparameters": {"rank": 4}}, "invalid_value", "hyperparameters.rank"),
    ({"extra_body": {"local": {"optimizer": "x"}}}, "invalid_value", "local"),
    ({"extra_body": {"prompt_loss_weight": 0.1}}, None, "prompt_loss_weight"),
]


def test_what_cannot_be_is_said_at_once(sdk: openai.OpenAI, file_id: str) -> None:
    """A wrong request makes no job; the error has OpenAI's shape and names what is wrong."""
    for changes, code, param in WRONG:
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.fine_tuning.jobs.create(**{"model": "local", "training_file": file_id, **changes})
        assert (refused.value.code, refused.value.param, refused.value.type) == (code, param, "invalid_request_error")
    assert not sdk.fine_tuning.jobs.list().data


def test_a_file_of_another_purpose_is_refused(sdk: openai.OpenAI) -> None:
    """A batch's input is no training file."""
    other = sdk.files.create(file=("in.jsonl", b"{}\n"), purpose="batch").id
    with pytest.raises(openai.BadRequestError, match="purpose"):
        sdk.fine_tuning.jobs.create(model="local", training_file=other)


def test_jobs_belong_to_the_key(gateway: LiveGateway, sdk: openai.OpenAI) -> None:
    """Another key sees neither job nor file; a key without the scope may not ask at all."""
    mine, other = (openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=0) for _ in range(2))
    limited = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(endpoints=("chat",)), max_retries=0)
    with mine, other, limited:
        file_id = mine.files.create(file=("t.jsonl", b'{"messages": []}\n'), purpose="fine-tune").id
        made = mine.fine_tuning.jobs.create(model="local", training_file=file_id)
        assert [job.id for job in mine.fine_tuning.jobs.list()] == [made.id]
        assert not other.fine_tuning.jobs.list().data
        for call in (other.fine_tuning.jobs.retrieve, other.fine_tuning.jobs.cancel, other.fine_tuning.jobs.list_events):
            with pytest.raises(openai.NotFoundError):
                call(made.id)
        with pytest.raises(openai.BadRequestError, match="invalid training_file"):
            other.fine_tuning.jobs.create(model="local", training_file=file_id)
        with pytest.raises(openai.PermissionDeniedError, match="fine_tuning"):
            limited.fine_tuning.jobs.list()


def test_nothing_is_there_under_another_id(sdk: openai.OpenAI) -> None:
    """An id like ours that is none is 404; a provider's id is asked for at the provider, which does not answer here."""
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.fine_tuning.jobs.retrieve("ftjob-bk-none")
    assert missing.value.code == "fine_tune_not_found"
    for call in (sdk.fine_tuning.jobs.retrieve, sdk.fine_tuning.jobs.pause):
        with pytest.raises(openai.InternalServerError, match="cannot be reached"):
            call("ftjob-abc123")
    with pytest.raises(openai.InternalServerError, match="cannot be reached"):
        sdk.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-abc123")


def test_states_only_follow_the_table(gateway: LiveGateway, sdk: openai.OpenAI, file_id: str) -> None:
    """Whoever comes second loses: a job that was cancelled cannot be made running, and its finished model is not there."""
    made = sdk.fine_tuning.jobs.create(model="local", training_file=file_id)
    sdk.fine_tuning.jobs.cancel(made.id)
    with writing(gateway.database) as conn:
        assert not any(fine_tuning.move(conn, made.id, to, time.time()) for to in fine_tuning.NEXT if to != "validating_files")
    with reading(gateway.database) as conn:
        found = fine_tuning.get(conn, made.id)
        assert found is not None
        assert found.status == "cancelled"
        assert not fine_tuning.names(conn)
