"""training/evaluate.py: asking a real HTTP server that speaks OpenAI's chat API."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from router.errors import BreakevenError, UpstreamError
from training import evaluate, suite
from training.evaluate import Endpoint, Options, RungSpec
from training.progress import Progress
from training.results import EvalReport
from training.suite import Suite

RUNGS = (RungSpec("openai/gpt-4o-mini", "hosted"), RungSpec("local", "base"), RungSpec("local/triage@2", "adapter"))


class Backend(ThreadingHTTPServer):
    """Answers the right thing for the adapter and the hosted model, nonsense for the base; `failing` models answer 500, `broken` items 400."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[tuple[str, str]] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.failing: set[str] = set()
        self.broken: set[str] = set()
        self.hollow: set[str] = set()
        self.parallel = self.most_parallel = 0
        self.lock = threading.Lock()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(f"http://127.0.0.1:{self.server_address[1]}/v1", "key")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Backend

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model, question = body["model"], body["messages"][-1]["content"]
        with self.server.lock:
            self.server.asked[model, question] += 1
            self.server.bodies.append(body)
            self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
            self.server.parallel += 1
            self.server.most_parallel = max(self.server.parallel, self.server.most_parallel)
        if model in self.server.failing or question in self.server.broken:
            self.reply(400, {"error": {"message": "cannot", "type": "invalid_request_error", "code": None, "param": None}})
        elif question in self.server.hollow:
            self.reply(200, {**self.completion(model, "", None), "choices": []})
        elif body.get("tools"):
            call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"order": 5}'}}
            self.reply(200, self.completion(model, None, [call]))
        else:
            self.reply(200, self.completion(model, "??" if model == "local" else f"answer {question}", None))
        with self.server.lock:
            self.server.parallel -= 1

    def completion(self, model: str, text: str | None, calls: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
        choice = {"index": 0, "finish_reason": "tool_calls" if calls else "stop", "message": message}
        usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
        return {"id": "x", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-request-id", "req-1")
        if body.get("model", "").startswith("openai/"):
            self.send_header("x-breakeven-cost-usd", "0.000002")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A running backend."""
    with Backend() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(30)


@pytest.fixture
def questions(tmp_path: Path) -> Suite:
    """Twenty items and one with a tool."""
    rows: list[dict[str, Any]] = [
        {"id": f"i{k}", "messages": [{"role": "user", "content": f"q{k}"}], "expected": f"answer q{k}", "scorer": "exact"} for k in range(20)
    ]
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    expected = {"name": "look", "arguments": {"order": 5}}
    rows.append({"id": "tool", "messages": [{"role": "user", "content": "qt"}], "expected": expected, "scorer": "tool_call", "tools": [tool]})
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return suite.load(path)


def run(questions: Suite, backend: Backend, directory: Path, rungs: tuple[RungSpec, ...] = RUNGS, **options: Any) -> EvalReport:
    """Evaluate."""
    return asyncio.run(evaluate.evaluate(questions, "triage", rungs, backend.endpoint, Options(directory / "answers", **options)))


def test_every_rung_answers_every_item_in_order(questions: Suite, backend: Backend, tmp_path: Path) -> None:
    """Scores, cost, latency, usage and model are recorded; requests are pinned, greedy, tagged, uncaptured and bounded in number."""
    seen: list[Progress] = []
    made = run(questions, backend, tmp_path, concurrency=4, on_progress=seen.append)
    assert [rung.model for rung in made.rungs] == [spec.model for spec in RUNGS]
    hosted, base, adapter = made.rungs
    assert [r.id for r in hosted.results] == [item.id for item in questions.items]
    assert (hosted.score, adapter.score) == (1.0, 1.0)
    assert base.score == pytest.approx(1 / 21)
    assert hosted.summary()["cost_per_1k_nanousd"] == 2_000_000
    assert adapter.summary()["cost_per_1k_nanousd"] is None
    last = adapter.results[-1]
    assert last.answer == '\nlook({"order": 5})'
    assert (last.finish, last.input_tokens, last.output_tokens, last.request_id) == ("tool_calls", 11, 3, "req-1")
    assert last.latency_ms is not None
    assert last.latency_ms > 0
    assert all(body["temperature"] == 0 and body["max_completion_tokens"] == 86 for body in backend.bodies)
    assert all(h["x-breakeven-tags"] == "purpose=eval" and h["x-breakeven-no-capture"] == "1" and h["authorization"] == "Bearer key" for h in backend.headers)
    assert 1 < backend.most_parallel <= 4
    assert (seen[-1].done, seen[-1].total, seen[-1].eta_s) == (63, 63, 0.0)


def test_an_interrupted_evaluation_goes_on(questions: Suite, backend: Backend, tmp_path: Path) -> None:
    """Answers already there are not asked again; a torn last line and earlier errors are."""
    backend.broken = {"q3"}
    first = run(questions, backend, tmp_path, RUNGS[2:])
    assert first.rungs[0].results[3].error is not None
    assert first.rungs[0].results[3].valid is None
    path = tmp_path / "answers" / "local_triage_2.jsonl"
    lines = path.read_text().splitlines()
    gone = json.loads(lines[-1])["id"]
    path.write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    backend.broken.clear()
    backend.asked.clear()
    second = run(questions, backend, tmp_path, RUNGS[2:])
    asked_again = {"q3", questions.items[[i.id for i in questions.items].index(gone)].messages[-1]["content"]}
    assert {question for _, question in backend.asked} == asked_again
    assert second.rungs[0].score == 1.0
    backend.asked.clear()
    assert run(questions, backend, tmp_path, RUNGS[2:]) == second
    assert not backend.asked


def test_answers_to_another_suite_are_not_mixed_in(questions: Suite, backend: Backend, tmp_path: Path) -> None:
    """A changed suite asks everything again and sets the old answers aside; a file of another version is refused."""
    run(questions, backend, tmp_path, RUNGS[2:])
    backend.asked.clear()
    other = Suite(questions.file, "f" * 64, questions.items[:5])
    run(other, backend, tmp_path, RUNGS[2:])
    assert len(backend.asked) == 5
    assert len(list((tmp_path / "answers").glob("*.old"))) == 1
    path = tmp_path / "answers" / "local_triage_2.jsonl"
    header = path.read_text().splitlines()[0]
    path.write_text(header + '\n{"id": "i0", "colour": 1}\n')
    with pytest.raises(BreakevenError, match="another version"):
        run(other, backend, tmp_path, RUNGS[2:])


def test_a_rung_that_cannot_answer_ends_early(questions: Suite, backend: Backend, tmp_path: Path) -> None:
    """An unknown model fails after ten errors with what the server said, not after the whole suite."""
    backend.failing = {"local"}
    with pytest.raises(UpstreamError, match=r"local cannot be evaluated: 400: .*cannot"):
        run(questions, backend, tmp_path, concurrency=2)
    assert sum(count for (model, _), count in backend.asked.items() if model == "local") <= 12


def test_single_failures_are_recorded_and_counted_wrong(questions: Suite, backend: Backend, tmp_path: Path) -> None:
    """An error on one item, an answer without choices and a server that is gone are errors of those items."""
    backend.broken, backend.hollow = {"qt"}, {"q0"}
    [rung] = run(questions, backend, tmp_path, RUNGS[2:]).rungs
    assert "no choices" in (rung.results[0].error or "")
    assert (rung.results[-1].error or "").startswith("400")
    assert rung.results[-1].valid is False
    assert rung.summary()["errors"] == 2
    gone = Endpoint("http://127.0.0.1:1/v1", "key")
    with pytest.raises(UpstreamError, match="APIConnectionError"):
        asyncio.run(evaluate.evaluate(Suite("s", "0" * 64, questions.items[:1]), "triage", RUNGS[1:2], gone, Options(tmp_path / "gone", timeout_s=1)))


def test_token_limit_follows_the_longest_answer(questions: Suite) -> None:
    """Twice the longest expectation in bytes, at least 64; scorers without an expected text get 1,024. A cost that is no number is unknown."""
    assert evaluate.token_limit(questions.items[:20]) == 64
    free = suite.Item("r", (), ".*", "regex", (), False, (), 1)
    assert evaluate.token_limit([free]) == 1024
    assert evaluate._cost("lots") is None
    assert evaluate._cost(None) is None
