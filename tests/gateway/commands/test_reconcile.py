"""`breakeven reconcile` against a provider that keeps its own books: real requests through a real gateway, and two accounts that must be equal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sandbox import Running, SandboxOptions, running
from tests.gateway.commands.conftest import Run
from tests.gateway.live_gateway import LiveGateway
from tests.patience import PATIENCE_S

MODELS = ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small", "omni-moderation-latest")
LONG = "the same long beginning of many words " * 200


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A provider with books of its own."""
    with running(SandboxOptions(models=MODELS, api_key="k")) as made:
        yield made


@pytest.fixture
def gateway(sandbox: Running, tmp_path: Path) -> Iterator[LiveGateway]:
    """A gateway in front of it."""
    body: dict[str, Any] = {
        "providers": {"openai": {"base_url": sandbox.base_url, "api_key": "k", "models": list(MODELS), "sandbox": True}},
        "routes": {"r": {"candidates": [{"provider": "openai", "model": "gpt-4o-mini"}, {"provider": "openai", "model": "gpt-4o"}]}},
    }
    with LiveGateway(tmp_path, body) as made:
        yield made


def chat(client: httpx.Client, text: str, model: str = "r", **more: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": text}], **more})


def settled(sandbox: Running) -> None:
    """Wait until the provider has noticed the end of every request."""
    deadline = time.monotonic() + PATIENCE_S
    while sandbox.app.log.as_dict(0)["totals"]["open"] and time.monotonic() < deadline:
        time.sleep(0.02)


def traffic(gateway: LiveGateway, sandbox: Running) -> int:
    """Every kind of answer, a provider that fails, and one that is asked again; how many exchanges that is."""
    with httpx.Client(base_url=gateway.url, timeout=PATIENCE_S) as client:
        answers = [chat(client, f"question {n}", stream=bool(n % 2)) for n in range(6)]
        answers += [chat(client, LONG + str(n), "openai/gpt-4o") for n in range(2)]  # the second finds its beginning in the cache
        answers.append(client.post("/v1/embeddings", json={"model": "openai/text-embedding-3-small", "input": ["one", "two words"]}))
        answers.append(client.post("/v1/responses", json={"model": "openai/gpt-4o", "input": "hello there"}))
        sandbox.app.faults.clear()
        httpx.post(f"{sandbox.url}/sandbox/faults", json={"fault": "server_error", "count": 1, "model": "gpt-4o-mini"}, timeout=PATIENCE_S).raise_for_status()
        answers.append(chat(client, "a failure, then the next"))
        assert [answer.status_code for answer in answers] == [200] * len(answers)
    settled(sandbox)
    return len(answers)


def days() -> tuple[str, ...]:
    """Options for yesterday to tomorrow: the test may run over midnight."""
    first, last = (time.strftime("%Y-%m-%d", time.gmtime(time.time() + shift * 86_400)) for shift in (-1, 1))
    return ("--since", first, "--until", last)


def test_the_ledger_agrees_with_the_provider_to_the_nano_dollar(
    run: Run, gateway: LiveGateway, sandbox: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the API and by a file of the same pages: requests, tokens and dollars of each day and model, without any difference; then with foreign traffic."""
    config = str(tmp_path / "gateway.yaml")
    Path(config).write_text(json.dumps(_config(gateway, sandbox)))
    rows = gateway.rows(traffic(gateway, sandbox))
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "k")
    code, found, _ = run("reconcile", "-c", config, *days(), "--json")
    assert (code, found["ok"]) == (0, True), found
    by_model = {row["model"]: row for row in found["data"]}
    assert set(by_model) >= {"gpt-4o-mini", "gpt-4o", "text-embedding-3-small"}
    assert by_model["gpt-4o"]["cached_tokens"]["provider"] > 0
    total = found["total"]
    assert total["cost_nanousd"] == {"ledger": sum(row.cost_nanousd or 0 for row in rows), "provider": total["cost_nanousd"]["provider"], "difference": 0}
    assert total["cost_nanousd"]["provider"] > 0
    assert total["requests"]["difference"] == 0
    said = run("reconcile", "-c", config, *days())[1]
    assert "total" in said
    assert "ok" in said
    assert "differs" not in said

    pages = [_page(sandbox, path) for path in ("usage/completions?group_by=model", "usage/embeddings?group_by=model", "costs?group_by=line_item")]
    (tmp_path / "usage.json").write_text(json.dumps(pages))
    code, again, _ = run("reconcile", str(tmp_path / "usage.json"), "-c", config, "--json")
    assert (code, again["total"]) == (0, total)

    with httpx.Client(base_url=sandbox.url, headers={"authorization": "Bearer k"}, timeout=PATIENCE_S) as other:
        chat(other, "not through the gateway", "gpt-4o-mini").raise_for_status()
    settled(sandbox)
    code, foreign, _ = run("reconcile", "-c", config, *days(), "--json")
    row = next(row for row in foreign["data"] if row["model"] == "gpt-4o-mini" and not row["within"])
    assert (code, foreign["ok"], row["requests"]["difference"]) == (1, False, -1)
    assert any("did not come through this gateway" in why for why in row["why"])
    code, said, _ = run("reconcile", "-c", config, *days())
    assert code == 1
    assert "differs" in said
    assert "differ by more than 0 of a number" in said
    assert run("reconcile", "-c", config, *days(), "--tolerance", "0.5")[0] == 0


def test_many_days_are_asked_for_page_by_page(run: Run, sandbox: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Usage comes in pages of 31 days: what was used on the last of many days is found too."""
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "k")
    providers = {"openai": {"base_url": sandbox.base_url, "api_key": "k"}}
    (tmp_path / "breakeven.yaml").write_text(json.dumps({"providers": providers, "routes": {}}))
    with httpx.Client(base_url=sandbox.url, headers={"authorization": "Bearer k"}, timeout=PATIENCE_S) as client:
        chat(client, "hello", "gpt-4o").raise_for_status()
    settled(sandbox)
    first = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 80 * 86_400))
    code, found, _ = run("reconcile", "--since", first, "--until", days()[3], "--json")
    assert (code, found["total"]["requests"]) == (1, {"ledger": 0, "provider": 1, "difference": -1})
    assert found["total"]["cost_usd"]["provider"] != "0"


def _config(gateway: LiveGateway, sandbox: Running) -> dict[str, Any]:
    """The gateway's configuration for a command beside it."""
    return {
        "database": gateway.config.database,
        "providers": {"openai": {"base_url": sandbox.base_url, "api_key": "k", "sandbox": True}},
        "routes": {},
    }


def _page(sandbox: Running, path: str) -> Any:
    start = int(time.time()) // 86_400 * 86_400 - 86_400
    answer = httpx.get(
        f"{sandbox.base_url}/organization/{path}&start_time={start}&end_time={start + 3 * 86_400}", headers={"authorization": "Bearer k"}, timeout=PATIENCE_S
    )
    return answer.raise_for_status().json()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "give a FILE"),
        (("--since", "2026-11-01", "--until", "2026-11-02"), "OPENAI_ADMIN_KEY"),
        (("--provider", "opnai"), "'opnai' is not configured"),
        (("none.json",), "none.json cannot be read"),
        (("bad.json",), "bad.json has 1 problem"),
        (("bad.json", "--tolerance", "2"), "must be a share"),
        (("bad.json", "--tolerance", "some"), "must be a share"),
        (("bad.json", "--tolerance", "nan"), "must be a share"),
        (("binary.json",), "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_and_is_not_a_difference(run: Run, tmp_path: Path, words: tuple[str, ...], part: str) -> None:
    """Exit code 2, for 1 means that the accounts differ; problems have file and line."""
    (tmp_path / "bad.json").write_text('{"data": 5}')
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    code, document, _ = run("reconcile", *words, "--json")
    assert code == 2
    assert part in document["error"]["message"]
    if words == ("bad.json",):
        assert [(problem["line"], problem["key"]) for problem in document["error"]["problems"]] == [(1, "data")]


def test_a_provider_that_does_not_answer_so_is_said(run: Run, sandbox: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key that may not read usage, an address without such an API, and nobody there: each with what to change."""
    for name in ("OPENAI_ADMIN_KEY", "MY_OWN_ADMIN_KEY", "AWAY_ADMIN_KEY", "PAGE_ADMIN_KEY"):
        monkeypatch.setenv(name, "wrong")
    providers = {
        "openai": {"base_url": sandbox.base_url, "api_key": "k"},
        "my-own": {"kind": "compatible", "base_url": f"{sandbox.url}/sandbox/log"},
        "away": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"},
        "page": {"kind": "compatible", "base_url": f"{sandbox.url}/nowhere"},
    }
    (tmp_path / "breakeven.yaml").write_text(json.dumps({"providers": providers, "routes": {}}))
    said = {}
    for name in providers:
        code, document, _ = run("reconcile", "--provider", name, "--since", "2026-11-01", "--until", "2026-11-02", "--json")
        assert code == 2
        said[name] = document["error"]["message"]
    assert "must be an admin key" in said["openai"]
    assert "answered 404" in said["my-own"]
    assert "does not answer" in said["away"]
