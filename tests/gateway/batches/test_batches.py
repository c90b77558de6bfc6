"""Whole batches with the official client: from the file to the answers, and everything that can come between."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import httpx
import openai
import orjson
import pytest

from gateway.batches import door, journal
from gateway.store import batches, content, keys
from router.types import Outcome
from serving.database import writing
from tests.gateway.batches.conftest import CHAT, World, jsonl, line, read, until
from tests.gateway.upstream_server import Wire, completion


async def echo(wire: Wire) -> None:
    """Says what it was asked."""
    await wire.json(completion(text=wire.seen.body["messages"][-1]["content"], model="m"))


def asked(world: World) -> list[str]:
    """The texts the provider saw, in order."""
    return [seen.body["messages"][-1]["content"] for seen in world.upstream.seen]


def test_a_batch_is_answered(world: World, sdk: openai.OpenAI) -> None:
    """Every line once, through the router: answers under their ids, one ledger row each at the normal price, tagged; every instant is there."""
    world.upstream.script(echo)
    world.begin()
    made = world.make(sdk, jsonl(*map(line, range(20))), metadata={"for": "night"}, extra_headers={"x-breakeven-tags": "team=a"})
    assert (made.object, made.status, made.metadata, made.completion_window) == ("batch", "validating", {"for": "night"}, "24h")
    assert made.expires_at == made.created_at + 86_400
    batch = world.wait(sdk, made.id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 20, "completed": 20, "failed": 0}
    assert batch.in_progress_at and batch.finalizing_at and batch.completed_at  # noqa: PT018
    assert (batch.error_file_id, batch.errors, batch.failed_at, batch.expired_at, batch.cancelled_at) == (None,) * 5
    found = {entry["custom_id"]: entry for entry in read(sdk, batch.output_file_id)}
    assert len(found) == 20
    for number in range(20):
        entry = found[f"id-{number}"]
        assert entry["response"]["body"]["choices"][0]["message"]["content"] == f"question {number}"
        assert (entry["response"]["status_code"], entry["error"]) == (200, None)
        assert entry["id"].startswith("batch_req_")
    file = sdk.files.retrieve(batch.output_file_id or "")
    assert (file.purpose, file.filename, file.expires_at) == ("batch_output", f"{made.id}_output.jsonl", file.created_at + 30 * 86_400)
    rows = world.gateway.rows(20)
    assert {row.id for row in rows} == {entry["response"]["request_id"] for entry in found.values()}
    assert {row.tags["batch"] for row in rows} == {made.id}
    assert {row.tags["team"] for row in rows} == {"a"}
    assert {(row.route, row.outcome, row.cost_nanousd, row.cost_state) for row in rows} == {("r", Outcome.OK, 9 * 1000 + 3 * 2000, "known")}
    assert all(row.decision_id for row in rows)
    assert sorted(asked(world)) == sorted(f"question {number}" for number in range(20))
    assert not (world.gateway.config.server.data_dir / "batches" / made.id).exists()
    assert [each.id for each in sdk.batches.list()] == [made.id]


@pytest.mark.parametrize(
    ("url", "body", "said"),
    [
        ("/v1/completions", {"model": "r", "prompt": "x"}, "choices"),
        ("/v1/embeddings", {"model": "r", "input": "x"}, "data"),
        ("/v1/responses", {"model": "r", "input": "x"}, "output"),
    ],
)
def test_other_endpoints(world: World, sdk: openai.OpenAI, url: str, body: dict[str, str], said: str) -> None:
    """Completions, embeddings and responses go the same way."""
    world.begin()
    made = world.make(sdk, jsonl(line(1, url=url, body=body)), endpoint=url)
    batch = world.wait(sdk, made.id)
    assert batch.status == "completed"
    (entry,) = read(sdk, batch.output_file_id)
    assert said in entry["response"]["body"]
    assert world.gateway.row().endpoint == url


def test_everything_wrong_with_a_file_is_said_at_once(world: World, sdk: openai.OpenAI) -> None:
    """Failed, with each line's problems; nobody was asked anything."""
    world.begin()
    bad = jsonl(line(1), line(1), line(2, url="/v1/embeddings")) + b"not json\n\n" + jsonl(line(3, method="GET", body=None)) + b'"\xff"\n'
    batch = world.wait(sdk, world.make(sdk, bad).id)
    assert batch.status == "failed"
    assert batch.failed_at
    assert batch.errors is not None
    assert [(error.line, error.code, error.param) for error in batch.errors.data or []] == [
        (2, "duplicate_custom_id", "custom_id"),
        (3, "url_mismatch", "url"),
        (4, "invalid_json_line", None),
        (6, "invalid_method", "method"),
        (6, "missing_required_parameter", "body"),
        (7, "invalid_json_line", None),
    ]
    assert (batch.output_file_id, batch.error_file_id, batch.in_progress_at) == (None, None, None)
    assert not world.upstream.seen


def test_models_may_differ_and_errors_are_kept_apart(world: World) -> None:
    """A line the provider refuses and a model that the key may not use go to the error file with their status; the others are answered."""
    sdk = world.sdk(world.gateway.key(routes=("r",), models=("one/m",)))

    async def picky(wire: Wire) -> None:
        if "2" in wire.seen.body["messages"][-1]["content"]:
            await wire.json({"error": {"message": "bad", "type": "invalid_request_error", "param": None, "code": None}}, 400)
        else:
            await wire.json(orjson.dumps(completion(), option=orjson.OPT_INDENT_2))  # an answer over several lines

    world.upstream.script(picky)
    world.begin()
    other = line(3)
    other["body"] = {**other["body"], "model": "two/m"}
    pinned = line(4)
    pinned["body"] = {**pinned["body"], "model": "one/m"}
    batch = world.wait(sdk, world.make(sdk, jsonl(line(1), line(2), other, pinned)).id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 4, "completed": 2, "failed": 2}
    assert {entry["custom_id"] for entry in read(sdk, batch.output_file_id)} == {"id-1", "id-4"}
    wrong = {entry["custom_id"]: entry["response"] for entry in read(sdk, batch.error_file_id)}
    assert (wrong["id-2"]["status_code"], wrong["id-2"]["body"]["error"]["message"]) == (400, "bad")
    assert (wrong["id-3"]["status_code"], wrong["id-3"]["body"]["error"]["code"]) == (404, "model_not_found")


def test_cancelled_on_the_way(world: World, sdk: openai.OpenAI) -> None:
    """Lines under way are finished and kept, the rest is named as cancelled, and cancelling again says how it is."""
    go = threading.Event()

    async def held(wire: Wire) -> None:
        while not go.is_set():
            await asyncio.sleep(0.01)
        await echo(wire)

    world.upstream.script(held)
    world.begin()
    made = world.make(sdk, jsonl(*map(line, range(50))))
    until(lambda: len(world.upstream.seen) >= 4)
    assert sdk.batches.cancel(made.id).status == "cancelling"
    assert sdk.batches.cancel(made.id).status == "cancelling"
    go.set()
    batch = world.wait(sdk, made.id)
    assert batch.status == "cancelled"
    assert batch.cancelling_at and batch.cancelled_at  # noqa: PT018
    done, left = read(sdk, batch.output_file_id), read(sdk, batch.error_file_id)
    assert len(done) == len(world.upstream.seen) < 50
    assert {entry["custom_id"] for entry in done + left} == {f"id-{number}" for number in range(50)}
    assert len(done) + len(left) == 50
    assert {entry["error"]["code"] for entry in left} == {"batch_cancelled"}
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (len(done), 0)
    with pytest.raises(openai.ConflictError, match="Cannot cancel a batch with status 'cancelled'"):
        sdk.batches.cancel(made.id)


def test_cancelled_before_it_began(world: World, sdk: openai.OpenAI) -> None:
    """Nothing is sent."""
    made = world.make(sdk, jsonl(line(1)))
    sdk.batches.cancel(made.id)
    world.begin()
    batch = world.wait(sdk, made.id)
    assert (batch.status, batch.output_file_id) == ("cancelled", None)
    assert [entry["error"]["code"] for entry in read(sdk, batch.error_file_id)] == ["batch_cancelled"]
    assert not world.upstream.seen


def test_out_of_time(world: World, sdk: openai.OpenAI) -> None:
    """After a day what is not answered is named as expired; what is answered is kept."""

    async def once(wire: Wire) -> None:
        await (echo(wire) if wire.seen.body["messages"][-1]["content"] == "question 0" else wire.json({}, 503, {"retry-after-ms": "100"}))

    world.upstream.script(once)
    world.gateway.config.server.data_dir.mkdir(exist_ok=True)
    world.begin()
    content_ = jsonl(*({**line(number), "body": {**line(number)["body"], "model": "one/m"}} for number in range(5)))
    made = world.make(sdk, content_)
    until(lambda: (sdk.batches.retrieve(made.id).request_counts or openai.types.BatchRequestCounts(completed=0, failed=0, total=0)).completed == 1)
    world.now = lambda: time.time() + 86_400
    batch = world.wait(sdk, made.id)
    assert batch.status == "expired"
    assert batch.expired_at
    assert [entry["custom_id"] for entry in read(sdk, batch.output_file_id)] == ["id-0"]
    left = read(sdk, batch.error_file_id)
    assert {(entry["error"]["code"], entry["response"]) for entry in left} == {("batch_expired", None)}
    assert len(left) == 4


def test_it_goes_on_after_a_cut(world: World, sdk: openai.OpenAI) -> None:
    """Cut off three times on the way: no answer is there twice, none is missing, and nothing that was kept is asked for again."""
    answered: list[str] = []

    async def slow(wire: Wire) -> None:
        await asyncio.sleep(0.02)
        await echo(wire)
        answered.append(wire.seen.body["messages"][-1]["content"])

    world.upstream.script(slow)
    made = world.make(sdk, jsonl(*map(line, range(120))))
    sdk.files.delete(made.input_file_id)
    work = world.gateway.config.server.data_dir / "batches" / made.id
    assert sdk.batches.retrieve(made.id).status == "validating"
    kept: set[str] = set()
    file = sdk.files.create(file=("in.jsonl", jsonl(*map(line, range(120)))), purpose="batch")
    made = sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    work = world.gateway.config.server.data_dir / "batches" / made.id
    for goal in (20, 50, 90):
        before = len(world.upstream.seen)
        world.begin()
        until(lambda goal=goal: (work / journal.OUTPUT).exists() and (work / journal.OUTPUT).read_bytes().count(b"\n") >= goal)
        world.cut()
        again = set(asked(world)[before:])
        assert not again & kept
        kept = {f"question {orjson.loads(text)['custom_id'][3:]}" for text in (work / journal.OUTPUT).read_bytes().splitlines()}
        sdk.files.delete(file.id) if goal == 20 else None
    with (work / journal.OUTPUT).open("ab") as torn:
        torn.write(b'{"id": "x", "custom_id": "id-')  # as a kill in the middle of a write leaves it
    before = len(world.upstream.seen)
    world.begin()
    batch = world.wait(sdk, made.id)
    assert batch.status == "completed"
    ids = [entry["custom_id"] for entry in read(sdk, batch.output_file_id)]
    assert sorted(ids) == sorted(f"id-{number}" for number in range(120))
    assert not set(asked(world)[before:]) & kept


def test_a_deleted_input(world: World, sdk: openai.OpenAI) -> None:
    """Deleted before the batch began, it is a failure that says so."""
    made = world.make(sdk, jsonl(line(1)))
    sdk.files.delete(made.input_file_id)
    world.begin()
    batch = world.wait(sdk, made.id)
    assert batch.status == "failed"
    assert [error.code for error in (batch.errors.data if batch.errors else None) or []] == ["file_not_found"]


def test_an_input_that_vanished_on_the_way(world: World, sdk: openai.OpenAI) -> None:
    """Somebody emptied the disk: the batch ends as cancelled with the reason, instead of standing still for ever."""
    made = world.make(sdk, jsonl(line(1)))
    with writing(world.gateway.database) as conn:
        batches.move(conn, made.id, "in_progress", 1.0, total=1)
    content.remove(world.gateway.config.server.data_dir, [made.input_file_id])
    world.begin()
    batch = world.wait(sdk, made.id)
    assert batch.status == "cancelled"
    assert [error.code for error in (batch.errors.data if batch.errors else None) or []] == ["file_not_found"]


@pytest.mark.parametrize("state", ["finalizing", "expired"])
def test_interrupted_at_the_end(world: World, sdk: openai.OpenAI, state: str) -> None:
    """All lines are in the journal and the last steps were begun: they are done again, and nobody is asked."""
    made = world.make(sdk, jsonl(line(1)))
    work = world.gateway.config.server.data_dir / "batches" / made.id
    work.mkdir(parents=True)
    (work / "input.jsonl").write_bytes(jsonl(line(1)))
    entry = {"id": "b", "custom_id": "id-1", "response": {"status_code": 200, "request_id": "r", "body": {}} if state == "finalizing" else None, "error": None}
    (work / (journal.OUTPUT if state == "finalizing" else journal.ERRORS)).write_bytes(jsonl(entry))
    with writing(world.gateway.database) as conn:
        batches.move(conn, made.id, "in_progress", 1.0, total=1)
        batches.move(conn, made.id, "finalizing", 2.0, **({"expired_at": 2.0} if state == "expired" else {}))
    world.begin()
    batch = world.wait(sdk, made.id)
    assert batch.status == ("completed" if state == "finalizing" else "expired")
    assert read(sdk, batch.output_file_id or batch.error_file_id) == [entry]
    assert not world.upstream.seen


def test_what_may_be_tried_again_is(world: World, sdk: openai.OpenAI) -> None:
    """A provider that breaks once, and one that is busy, cost a line nothing but time; what breaks every time is kept as it is."""
    seen: dict[str, int] = {}

    async def shaky(wire: Wire) -> None:
        text = wire.seen.body["messages"][-1]["content"]
        seen[text] = seen.get(text, 0) + 1
        if text == "question 3" or (text == "question 1" and seen[text] == 1):
            await wire.json({"error": {"message": "broken"}}, 500)
        elif text == "question 2" and seen[text] < 3:
            await wire.json({"error": {"message": "busy"}}, 429, {"retry-after-ms": "50"})
        else:
            await echo(wire)

    world.upstream.script(shaky)
    world.begin()
    lines = ({**line(number), "body": {**line(number)["body"], "model": "one/m"}} for number in (1, 2, 3))
    batch = world.wait(sdk, world.make(sdk, jsonl(*lines)).id)
    assert batch.status == "completed"
    assert {entry["custom_id"] for entry in read(sdk, batch.output_file_id)} == {"id-1", "id-2"}
    (wrong,) = read(sdk, batch.error_file_id)
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("id-3", 502)
    assert seen == {"question 1": 2, "question 2": 3, "question 3": 4}


def test_the_keys_limits_hold(world: World) -> None:
    """A key with two places at a time is served two at a time, and everything is answered in the end."""
    now = [0, 0]

    async def counted(wire: Wire) -> None:
        now[0] += 1
        now[1] = max(now)
        await asyncio.sleep(0.02)
        now[0] -= 1
        await echo(wire)

    world.upstream.script(counted)
    with world.sdk(world.gateway.key(concurrency=2, routes=("r",))) as sdk:
        world.begin()
        batch = world.wait(sdk, world.make(sdk, jsonl(*map(line, range(8)))).id)
        assert batch.status == "completed"
        assert len(read(sdk, batch.output_file_id)) == 8
    assert now[1] <= 2
    (key_id,) = {row.key_id for row in world.gateway.rows(8)}
    assert key_id is not None


def test_a_budget_that_is_spent_is_waited_for(world: World) -> None:
    """No hosted dollars left today: the batch stands still, without a call and without an error, until it is cancelled."""
    with world.sdk(world.gateway.key(nanousd_per_day=0)) as sdk:
        world.begin()
        made = world.make(sdk, jsonl(line(1), line(2)))
        until(lambda: len(world.gateway.rows()) >= 2)
        assert sdk.batches.retrieve(made.id).status == "in_progress"
        sdk.batches.cancel(made.id)
        batch = world.wait(sdk, made.id)
    assert batch.status == "cancelled"
    assert not world.upstream.seen


def test_a_revoked_key_ends_its_batch(world: World) -> None:
    """Nothing more is sent for it; what was answered is kept."""
    secret = world.gateway.key()

    async def slow(wire: Wire) -> None:
        await asyncio.sleep(0.05)
        await echo(wire)

    world.upstream.script(slow)
    with world.sdk(secret) as sdk:
        world.begin()
        made = world.make(sdk, jsonl(*map(line, range(400))))
        until(lambda: len(world.upstream.seen) >= 3)
    with writing(world.gateway.database) as conn:
        keys.revoke(conn, keys.listed(conn)[0].id, time.time())
    world.gateway.run(world.gateway.app.gateway.fleet.refresh(force=True))

    def ended() -> bool:
        with writing(world.gateway.database) as conn:
            found = batches.get(conn, made.id)
        return found is not None and found.status == "cancelled" and [error["code"] for error in found.errors or []] == ["invalid_api_key"]

    until(ended)
    assert len(world.upstream.seen) < 400


def test_clients_go_first(world: World, sdk: openai.OpenAI) -> None:
    """While clients keep the worker busy, lines get one place; when they are gone, more."""
    admission = world.gateway.app.gateway.admission
    most = [0]

    async def counted(wire: Wire) -> None:
        most[0] = max(most[0], world.lane.running)
        await asyncio.sleep(0.01)
        await echo(wire)

    world.upstream.script(counted)
    world.gateway.call(lambda: setattr(admission, "running", admission.running + 50))
    world.begin()
    first = world.make(sdk, jsonl(*map(line, range(20))))
    world.wait(sdk, first.id)
    assert most[0] == 1
    world.gateway.call(lambda: setattr(admission, "running", admission.running - 50))
    world.wait(sdk, world.make(sdk, jsonl(*map(line, range(100)))).id)
    assert most[0] > 1


def test_another_keys_batch(world: World) -> None:
    """It does not exist, and its file cannot be used."""
    first, second = world.sdk(world.gateway.key()), world.sdk(world.gateway.key())
    with first, second:
        made = world.make(first, jsonl(line(1)))
        for call in (second.batches.retrieve, second.batches.cancel):
            with pytest.raises(openai.NotFoundError, match=f"No batch found with id '{made.id}'"):
                call(made.id)
        assert second.batches.list().data == []
        with pytest.raises(openai.BadRequestError, match="No such File object"):
            second.batches.create(input_file_id=made.input_file_id, endpoint=CHAT, completion_window="24h")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": "file-bk-nobody"}, "input_file_id"),
        ({"endpoint": None}, "endpoint"),
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": None}, "completion_window"),
        ({"completion_window": "48h"}, "completion_window"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
    ],
)
def test_what_is_refused(world: World, sdk: openai.OpenAI, changes: dict[str, object], param: str) -> None:
    """The parameter that is wrong is named, and no batch is made."""
    file = sdk.files.create(file=("in.jsonl", jsonl(line(1))), purpose="batch")
    body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **changes}
    answer = httpx.post(f"{world.gateway.url}/v1/batches", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert sdk.batches.list().data == []


def test_a_file_for_something_else(world: World, sdk: openai.OpenAI) -> None:
    """A fine-tuning file is no input of a batch; tags that no line could carry are refused before any is sent."""
    file = sdk.files.create(file=("in.jsonl", jsonl(line(1))), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError, match="upload it with purpose 'batch'"):
        sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    for tags in ("batch=mine", ",".join(f"t{number}=x" for number in range(16)), "x"):
        with pytest.raises(openai.BadRequestError, match="x-breakeven-tags"):
            world.make(sdk, jsonl(line(1)), extra_headers={"x-breakeven-tags": tags})


def test_not_too_many_at_a_time(world: World, sdk: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's unfinished batches are bounded; wishes that no line could carry are refused."""
    monkeypatch.setattr("gateway.batches.endpoint.MOST_UNFINISHED", 2)
    file = sdk.files.create(file=("in.jsonl", jsonl(line(1))), purpose="batch")
    for _ in range(2):
        sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.RateLimitError, match="2 unfinished batches"):
        sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="4096 characters"):
        sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", extra_headers={"x-breakeven-pin": "x" * 5000})


def test_pages(world: World, sdk: openai.OpenAI) -> None:
    """The client walks all pages, newest first."""
    ids = [world.make(sdk, jsonl(line(1))).id for _ in range(5)]
    assert [batch.id for batch in sdk.batches.list(limit=2)] == ids[::-1]
    with pytest.raises(openai.BadRequestError):
        sdk.batches.list(limit=101)


def test_the_providers_batches(world: World) -> None:
    """A file of the provider, and its batch ids, go to the provider; without one they do not exist."""

    async def echoes(wire: Wire) -> None:
        await wire.json({"path": wire.seen.path, "sent": wire.seen.raw.decode()})

    world.upstream.script(echoes)
    url = f"{world.gateway.url}/v1/batches"
    sent = httpx.post(url, json={"input_file_id": "file-native", "endpoint": "/v1/moderations"}).json()
    assert (sent["path"], orjson.loads(sent["sent"])) == ("/v1/batches", {"input_file_id": "file-native", "endpoint": "/v1/moderations"})
    assert httpx.post(f"{url}/batch_67f7/cancel").json()["path"] == "/v1/batches/batch_67f7/cancel"
    assert httpx.get(f"{url}/batch_67f7").json()["path"] == "/v1/batches/batch_67f7"
    assert httpx.get(f"{url}/batch_67f7/odd").json()["path"] == "/v1/batches/batch_67f7/odd"
    assert httpx.get(f"{url}/batch_bk-none").status_code == 404


def test_a_line_that_ends_its_worker(world: World, sdk: openai.OpenAI) -> None:
    """While no worker is there the batch waits; a line whose worker ends each time is given up after a few tries, as a failure that is ours."""
    world.gateway.run(world.lane.close())
    world.begin()
    made = world.make(sdk, jsonl(line(1)))
    world.wait(sdk, made.id, "in_progress")
    taken = []
    with door.bind(world.gateway.config.server.data_dir) as listening:
        listening.setblocking(True)

        def end_each() -> None:
            while len(taken) < 4:
                connection, _ = listening.accept()
                taken.append(connection.recv(10))
                connection.close()

        thread = threading.Thread(target=end_each, daemon=True)
        thread.start()
        batch = world.wait(sdk, made.id)
        thread.join(20)
    assert batch.status == "completed"
    (wrong,) = read(sdk, batch.error_file_id)
    assert (wrong["response"]["status_code"], wrong["response"]["body"]["error"]["code"]) == (500, "internal_error")
    assert len(taken) == 4
    assert not world.upstream.seen


def test_several_batches_share(world: World, sdk: openai.OpenAI) -> None:
    """More than run at a time: all of them end."""
    world.upstream.script(echo)
    world.begin()
    made = [world.make(sdk, jsonl(*map(line, range(3)))).id for _ in range(12)]
    assert {world.wait(sdk, batch_id).status for batch_id in made} == {"completed"}
    assert len(world.upstream.seen) == 36


def test_left_over_directories_go(world: World, sdk: openai.OpenAI) -> None:
    """What an interrupted last step left is removed when batches are taken up again."""
    left = world.gateway.config.server.data_dir / "batches" / "batch_bk-old"
    left.mkdir(parents=True)
    (left / "input.jsonl").touch()
    world.begin()
    until(lambda: not left.exists())


def test_a_disk_that_refuses(world: World, sdk: openai.OpenAI, tmp_path: Path) -> None:
    """The batch stands still with a reason in the log, and goes on when the disk does."""
    world.upstream.script(echo)
    made = world.make(sdk, jsonl(line(1)))
    work = world.gateway.config.server.data_dir / "batches" / made.id
    work.parent.mkdir(exist_ok=True)
    work.write_text("in the way")
    world.begin()
    time.sleep(0.3)
    assert sdk.batches.retrieve(made.id).status in {"validating", "in_progress"}
    work.unlink()
    assert world.wait(sdk, made.id).status == "completed"
