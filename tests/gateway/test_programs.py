"""Programs over real sockets: what the provider is asked, what everybody else sees, what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.store import captures
from router.errors import ConfigError
from router.types import Outcome
from serving.database import reading
from serving.programs import Program
from tests.gateway.conftest import TIMEOUTS, price, provider
from tests.gateway.live_gateway import LiveGateway, config_of
from tests.gateway.upstream_server import UpstreamServer, Wire, completion, usage

ASKED = [{"role": "user", "content": "Where is my red parcel?"}]
RENDERED = [
    {"role": "system", "content": "One word."},
    {"role": "user", "content": "blue bill"},
    {"role": "assistant", "content": "billing"},
    {"role": "user", "content": "Passages that may help:\n\n[a.md]\nRed parcels are in Ulm.\n\n---\n\nWhere is my red parcel?"},
]


def files(directory: Path) -> dict[str, Any]:
    """A program with all its parts, and their files in `directory`."""
    (directory / "s.txt").write_text("One word.")
    shot = {"messages": [{"role": "user", "content": "blue bill"}, {"role": "assistant", "content": "billing"}]}
    (directory / "shots.jsonl").write_text(json.dumps(shot) + "\n")
    (directory / "docs").mkdir(exist_ok=True)
    (directory / "docs" / "a.md").write_text("Red parcels are in Ulm.")
    return {"system": "s.txt", "examples": "shots.jsonl", "k": 1, "retrieval": {"source": "docs", "k": 1}}


def body(one: UpstreamServer, two: UpstreamServer, program: dict[str, Any], **route: Any) -> dict[str, Any]:
    """Route `r`: `one/m` with the program is cheaper and goes first, `two/m` is plain."""
    candidates = [{"provider": "one", "model": "m", "program": program}, {"provider": "two", "model": "m"}]
    return {
        "server": {"default_provider": "one"},
        "providers": {"one": provider(one), "two": provider(two)},
        "prices": [price("one", "m"), price("two", "m", "100", "200")],
        "routes": {"r": {"candidates": candidates, "timeouts": TIMEOUTS, **route}},
    }


def chat(gateway: LiveGateway, model: str = "r", path: str = "chat/completions", headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    sent = {"model": model, **({"messages": ASKED} if path == "chat/completions" else {}), **more}
    return httpx.post(f"{gateway.url}/v1/{path}", json=sent, headers=headers, timeout=30)


async def counting(wire: Wire) -> None:
    """A provider that bills a token for four bytes of what it was sent."""
    size = sum(len(message["content"]) for message in wire.seen.body["messages"])
    await wire.json(completion(usage=usage(size // 4, 3)))


async def broken(wire: Wire) -> None:
    await wire.json({"error": {"message": "no"}}, status=500)


def test_the_provider_sees_the_program(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path) -> None:
    """System text, example and passage around the client's words, also in a stream; the capture keeps the original; its tokens are counted and learnt."""
    gateway = start(body(upstream, fallback, files(tmp_path), capture={"sample": 1.0}))
    upstream.script(counting)
    assert chat(gateway).headers["x-breakeven-backend"] == "one/m"
    assert upstream.seen[0].body["messages"] == RENDERED
    row = gateway.rows(1)[0]
    sent = sum(len(message["content"]) for message in RENDERED)
    assert (row.usage.input, row.prompt_bytes, row.cost_nanousd) == (sent // 4, sent, (sent // 4) * 1000 + 3 * 2000)
    with reading(gateway.database) as conn:
        assert [capture.request["messages"] for capture in captures.iterate(conn, "r")] == [ASKED]
    scored = gateway.call(lambda: gateway.app.gateway.fleet.explain("r", {"messages": ASKED}))
    assert scored.scored[0].cost_nanousd > 1000 * sent // 5
    upstream.script(broken)
    chat(gateway, stream=True)
    assert upstream.seen[1].body["messages"] == RENDERED


def test_others_see_the_original(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path) -> None:
    """After a failure the next candidate gets the client's own messages; so does the same model when it is asked for by name."""
    gateway = start(body(upstream, fallback, files(tmp_path)))
    upstream.script(broken)
    assert chat(gateway).headers["x-breakeven-backend"] == "two/m"
    assert fallback.seen[0].body["messages"] == ASKED
    chat(gateway, "one/m")
    assert upstream.seen[1].body["messages"] == ASKED
    chat(gateway, headers={"x-breakeven-pin": "one/m"})
    assert upstream.seen[2].body["messages"] == RENDERED  # the route's own candidate of that name
    chat(gateway, headers={"x-breakeven-pin": "two/m"})
    assert fallback.seen[1].body["messages"] == ASKED
    # the program of the first is no part of what the second would have cost, and the other way round
    assert gateway.rows(4)[0].all_hosted_nanousd < 20 * 1000 * (3 + 9 * 8)


def test_two_candidates_that_differ_by_their_program(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path
) -> None:
    """Both are in the decision under names of their own; the plain one keeps the plain name when it comes first."""
    made = body(upstream, fallback, files(tmp_path))
    made["routes"]["r"]["candidates"] = [{"provider": "one", "model": "m"}, {"provider": "one", "model": "m", "program": {"system": "s.txt"}}]
    gateway = start(made)
    decision = gateway.call(lambda: gateway.app.gateway.fleet.explain("r", {"messages": ASKED}))
    assert [scored.backend for scored in decision.scored] == ["one/m", "one/m+program"]
    answer = chat(gateway, headers={"x-breakeven-pin": "one/m+program"})
    assert answer.headers["x-breakeven-backend"] == "one/m+program"
    assert upstream.seen[0].body["messages"] == [RENDERED[0], *ASKED]
    assert (upstream.seen[0].body["model"], gateway.row().cost_state) == ("m", "known")


def test_responses_see_it_too(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path) -> None:
    """A Responses request told in chat's words to a backend without that API has the same messages."""
    gateway = start(body(upstream, fallback, files(tmp_path)))
    assert chat(gateway, path="responses", input=ASKED[0]["content"]).status_code == 200
    assert upstream.seen[0].body["messages"] == RENDERED


def test_a_native_responses_backend_gets_instructions_and_items(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path
) -> None:
    """The system text goes into `instructions`, the rest into `input`; a conversation that the provider keeps has had its examples."""
    made = body(upstream, fallback, files(tmp_path))
    made["providers"]["one"]["kind"] = "openai"
    gateway = start(made)
    upstream.script(broken)
    chat(gateway, path="responses", input=ASKED[0]["content"], instructions="Be polite.")
    sent = upstream.seen[0].body
    assert (sent["instructions"], sent["input"]) == ("One word.\n\nBe polite.", RENDERED[1:])
    chat(gateway, "r", "responses", input=ASKED, previous_response_id="resp_of_the_provider")
    assert upstream.seen[-1].body["input"] == RENDERED[3:]


def test_what_no_program_can_be_put_before_goes_elsewhere(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path
) -> None:
    """A completion has no conversation: the candidate with a program does not take it."""
    gateway = start(body(upstream, fallback, files(tmp_path)))
    assert chat(gateway, path="completions", prompt="Hi").headers["x-breakeven-backend"] == "two/m"


def test_a_slow_look_up_falls_over(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a deadline of its own; nothing was asked, so nothing is charged, and the next candidate answers."""
    program = files(tmp_path)
    program["retrieval"]["timeout_ms"] = 50
    gateway = start(body(upstream, fallback, program))
    render = Program.render

    def slow(self: Program, messages: Any) -> Any:
        time.sleep(0.5)
        return render(self, messages)

    monkeypatch.setattr(Program, "render", slow)
    assert chat(gateway).headers["x-breakeven-backend"] == "two/m"
    row = gateway.row()
    assert (row.outcome, row.attempts[0].error, row.attempts[0].cost_nanousd) == (Outcome.OK, "upstream_timeout:retrieval", 0)
    assert not upstream.seen


def test_a_reload_takes_up_what_the_files_say_now(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path
) -> None:
    """New texts at once; a file that is wrong now changes nothing."""
    gateway = start(body(upstream, fallback, files(tmp_path)))
    (tmp_path / "s.txt").write_text("Two words.")
    assert httpx.post(f"{gateway.url}/admin/reload", timeout=30).status_code == 200
    chat(gateway)
    assert upstream.seen[0].body["messages"][0]["content"] == "Two words."
    (tmp_path / "shots.jsonl").write_text("oops")
    refused = httpx.post(f"{gateway.url}/admin/reload", timeout=30)
    assert refused.status_code == 422
    assert "shots.jsonl:1" in refused.text
    chat(gateway)
    assert upstream.seen[1].body["messages"][1:] == RENDERED[1:]


def test_what_is_wrong_in_the_files_is_said_by_line(upstream: UpstreamServer, fallback: UpstreamServer, tmp_path: Path) -> None:
    """With the configuration's line and the file's; all at once; a program of nothing is one too many."""
    program = files(tmp_path)
    (tmp_path / "shots.jsonl").write_text('{"messages": []}\n{\n')
    (tmp_path / "s.txt").write_text("")
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, body(upstream, fallback, program))
    said = [problem.message for problem in caught.value.problems]
    assert len(said) == 3
    assert all(problem.line for problem in caught.value.problems)
    assert any(f"{tmp_path / 'shots.jsonl'}:2: not JSON" in message for message in said)
    with pytest.raises(ConfigError, match="puts nothing before"):
        config_of(tmp_path, body(upstream, fallback, {"k": 3}))
