"""OpenAI's fine-tuning API with the official client alone, on a real engine: upload, job, events, success, and answers from the new model.

The session's engine and its controller run the jobs; the gateway in front of them is one of ours.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.store import job_files
from tests.engines import RealEngine
from tests.gateway.live_gateway import LiveGateway

pytestmark = [pytest.mark.vllm, pytest.mark.torch, pytest.mark.timeout(900)]

WAIT_S = 240.0
QUICK = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 50}}}


def lines(count: int, first: int = 0) -> bytes:
    """Distinct questions with one answer, which the model learns by heart."""
    rows = [{"messages": [{"role": "user", "content": f"order {i}?"}, {"role": "assistant", "content": "refund"}]} for i in range(first, first + count)]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def gateway(real_engine: RealEngine, tmp_path: Path) -> Iterator[LiveGateway]:
    """A gateway on the engine's database and data directory."""
    real_engine.ready()
    own = real_engine.config
    body = {
        "server": {"data_dir": str(own.server.data_dir), "default_provider": "away"},
        "providers": {"away": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}},
        "database": f"sqlite:///{real_engine.directory / 'breakeven.db'}",
        "engines": {"local": {"model": str(real_engine.directory / "base"), "max_lora_rank": 16}},
        "training": {"base_aliases": {"gpt-4o-mini": "local"}},
        "routes": {"r": {"candidates": [{"engine": "local"}]}},
    }
    with LiveGateway(tmp_path, body) as made:
        yield made


@pytest.fixture
def sdk(gateway: LiveGateway) -> Iterator[openai.OpenAI]:
    """The official client."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=120) as client:
        yield client


def until(true: Callable[[], Any], said: Callable[[], object]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := true()):
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)
    return found


def told(sdk: openai.OpenAI, job_id: str) -> list[str]:
    return [event.message for event in sdk.fine_tuning.jobs.list_events(job_id, limit=100)][::-1]


def test_from_upload_to_an_answer(sdk: openai.OpenAI, real_engine: RealEngine) -> None:
    """A kill -9 of the trainer on the way costs nothing but time; the model can be called the moment its job has succeeded, and carries its own name."""
    training = sdk.files.create(file=("train.jsonl", lines(64)), purpose="fine-tune").id
    held_out = sdk.files.create(file=("valid.jsonl", lines(12, 500)), purpose="fine-tune").id
    job = sdk.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=training, validation_file=held_out, suffix="orders", seed=3, method=QUICK)  # type: ignore[arg-type]
    record = job_files.work(real_engine.config.server.data_dir, job.id) / job_files.RECORD
    until(lambda: any(said.startswith("Step 2/") for said in told(sdk, job.id)), lambda: told(sdk, job.id))
    os.kill(json.loads(record.read_text())["server"], signal.SIGKILL)

    done = until(lambda: (found := sdk.fine_tuning.jobs.retrieve(job.id)).status in {"succeeded", "failed"} and found, lambda: told(sdk, job.id))
    assert (done.status, done.error) == ("succeeded", None), told(sdk, job.id)
    name = done.fine_tuned_model
    assert name is not None
    assert name.startswith("ft:gpt-4o-mini:breakeven:orders:")
    messages = told(sdk, job.id)
    assert any("killed by signal 9" in said for said in messages)
    assert messages[-2:] == [f"New fine-tuned model created: {name}", "The job has successfully completed"]
    steps = [said for said in messages if said.startswith("Step 16/16: training loss=")]
    assert len(steps) == 2
    assert "full validation loss=" in steps[-1]
    assert done.trained_tokens is not None
    assert done.trained_tokens > 64

    answer = sdk.chat.completions.create(model=name, messages=[{"role": "user", "content": "order 3?"}], max_tokens=8, temperature=0)
    assert answer.model == name
    assert (answer.choices[0].message.content or "").startswith("refund")
    plain = sdk.chat.completions.create(model="local", messages=[{"role": "user", "content": "order 3?"}], max_tokens=8, temperature=0)
    assert plain.choices[0].message.content != answer.choices[0].message.content
    assert name in {model.id for model in sdk.models.list()}
    assert sdk.models.retrieve(name).id == name

    points = sdk.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [point.step_number for point in points] == [16, 8]
    assert points[0].fine_tuned_model_checkpoint == name
    assert all(point.metrics.full_valid_loss is not None for point in points)
    early = points[1].fine_tuned_model_checkpoint
    assert early.endswith(":ckpt-step-8")
    assert sdk.chat.completions.create(model=early, messages=[{"role": "user", "content": "order 3?"}], max_tokens=2).model == early

    table = base64.b64decode(sdk.files.content(done.result_files[0]).read()).decode().splitlines()
    assert table[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert [row.split(",")[0] for row in table[1:]] == [str(step) for step in range(1, 17)]
    until(lambda: not record.parent.exists(), lambda: list(record.parent.iterdir()))

    assert sdk.models.delete(early).deleted
    until(lambda: early not in {model.id for model in sdk.models.list()}, lambda: "it is still listed")
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model=early, messages=[{"role": "user", "content": "order 3?"}])


def test_pause_resume_cancel_and_what_is_wrong(sdk: openai.OpenAI, real_engine: RealEngine) -> None:
    """A bad file fails with every line; a paused job goes on from where it was; a cancelled one ends at once and leaves nothing."""
    bad = lines(10) + b'not json\n{"messages": [{"role": "user", "content": "q"}]}\n{"messages": [], "wieght": 1}\n'
    wrong = sdk.fine_tuning.jobs.create(model="local", training_file=sdk.files.create(file=("bad.jsonl", lines(900) + bad), purpose="fine-tune").id)
    few = sdk.fine_tuning.jobs.create(model="local", training_file=sdk.files.create(file=("few.jsonl", lines(3)), purpose="fine-tune").id)
    long = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50, "batch_size": 1}}}
    file_id = sdk.files.create(file=("train.jsonl", lines(40)), purpose="fine-tune").id
    job = sdk.fine_tuning.jobs.create(model="local", training_file=file_id, method=long)  # type: ignore[arg-type]

    failed = until(lambda: (found := sdk.fine_tuning.jobs.retrieve(wrong.id)).status == "failed" and found, lambda: told(sdk, wrong.id))
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("invalid_training_file", "training_file")
    for line in (911, 912, 913):
        assert f"line {line}: " in failed.error.message
        assert any(f"line {line}: " in said for said in told(sdk, wrong.id))
    failed = until(lambda: (found := sdk.fine_tuning.jobs.retrieve(few.id)).status == "failed" and found, lambda: told(sdk, few.id))
    assert failed.error is not None
    assert failed.error.code == "invalid_n_examples"
    assert failed.error.message == "Training file has 3 example(s), but must have at least 10 examples"

    def step() -> int:
        return max((int(said.split("/")[0].removeprefix("Step ")) for said in told(sdk, job.id) if said.startswith("Step ")), default=0)

    until(lambda: step() >= 20, lambda: told(sdk, job.id))
    assert str(sdk.fine_tuning.jobs.pause(job.id).status) == "paused"
    work = job_files.work(real_engine.config.server.data_dir, job.id)
    until(lambda: not (work / job_files.RECORD).exists(), lambda: "it trains on")
    stood = step()
    assert any((work / "out.run" / "checkpoints").iterdir())
    sdk.fine_tuning.jobs.resume(job.id)
    until(lambda: step() > stood, lambda: told(sdk, job.id))
    assert sdk.fine_tuning.jobs.retrieve(job.id).estimated_finish is not None
    assert sdk.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    until(lambda: not work.exists(), lambda: list(work.iterdir()))
    assert sdk.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None
