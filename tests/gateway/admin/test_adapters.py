"""Claims about adapters over HTTP: shapes, status codes, waiting. A real gateway on a socket, a real controller, a stand-in for vLLM."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.engine_world import adapter, body, controlled
from tests.gateway.live_gateway import LiveGateway
from tests.serving.making import lora


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveGateway]:
    """A gateway without a controller."""
    with LiveGateway(tmp_path, body(tmp_path)) as made:
        yield made


@pytest.fixture
async def http(live: LiveGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live.url + "/admin", timeout=30) as client:
        yield client


async def add(http: httpx.AsyncClient, path: str, name: str = "colour") -> httpx.Response:
    return await http.post(f"/adapters/{name}/versions", json={"path": path})


async def test_the_whole_way_over_http(live: LiveGateway, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """Add, promote, add another, canary, promote, roll back, retire: each answer has the documented keys and says what is so."""
    async with controlled(live.config):
        made = await add(http, adapter(tmp_path, "red"))
        assert made.status_code == 201
        assert {"adapter", "version", "digest", "state", "checks"} <= set(made.json())
        first = await http.post("/adapters/colour/promote", json={"version": 1})
        assert first.status_code == 200
        found = first.json()
        assert {"adapter", "live", "previous", "canary", "versions"} <= set(found)
        assert (found["adapter"], found["live"], found["previous"], found["canary"]) == ("colour", 1, None, {"version": None, "percent": 0.0})
        assert {"version", "digest", "state", "stage", "replicas", "gate"} <= set(found["versions"][0])
        assert (found["versions"][0]["state"], found["versions"][0]["stage"], found["versions"][0]["replicas"]) == ("loaded", "open", [0])
        assert found["versions"][0]["proof"] == "proven"
        # this worker knows at once: the answer is not given before its own view has the new live version
        explained = (await http.post("/routes/plain/explain", json={"messages": [{"role": "user", "content": "hi"}]})).json()
        assert explained["chosen"] == "local/colour@1"
        assert (await add(http, adapter(tmp_path, "green", 0.7, 0.7))).json()["version"] == 2
        canary = (await http.post("/adapters/colour/canary", json={"version": 2, "percent": 10})).json()
        assert (canary["live"], canary["canary"], canary["versions"][1]["stage"]) == (1, {"version": 2, "percent": 10.0}, "canary")
        by_digest = (await http.post("/adapters/colour/promote", json={"version": canary["versions"][1]["digest"]})).json()
        assert (by_digest["live"], by_digest["previous"], by_digest["canary"]["version"]) == (2, 1, None)
        for _ in range(2):
            back = await http.post("/adapters/colour/rollback", json={})
            assert (back.status_code, back.json()["live"]) == (200, 1)
        retired = (await http.post("/adapters/colour/retire", json={"version": 2, "reason": "not needed"})).json()
        assert retired["versions"][1]["state"] == "retired"
        shown = (await http.get("/adapters/colour")).json()
        assert [line["verb"] for line in shown["audit"]] == ["retire", "rollback", "promote", "canary", "add", "promote", "add"]
        assert shown["audit"][0]["reason"] == "not needed"
        assert shown["audit"][0]["time"].endswith("Z")
        listed = (await http.get("/adapters")).json()
        assert (listed["object"], len(listed["data"]), listed["has_more"]) == ("list", 1, False)


async def test_refusals_have_reasons(live: LiveGateway, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """422 adapter_refused with code, message and remedy of each; nothing is kept."""
    bad = adapter(tmp_path, "bad", tensors={k: ("I16", s, r[: len(r) // 2]) for k, (_, s, r) in lora().items()}, base_model_name_or_path="other/model")
    answer = await add(http, bad)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], {r["code"] for r in error["reasons"]}) == ("adapter_refused", {"dtype", "base_mismatch"})
    assert all(r["message"] and r["remedy"] for r in error["reasons"])
    outside = await add(http, "/etc")
    assert (outside.status_code, outside.json()["error"]["reasons"][0]["code"]) == (422, "outside_roots")
    assert (await http.get("/adapters")).json()["data"] == []


async def test_what_the_verification_refuses_is_422_too(live: LiveGateway, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """An adapter that does not compute what its trainer recorded ends the waiting call with reasons; the live version stays."""
    async with controlled(live.config):
        await add(http, adapter(tmp_path, "red"))
        await http.post("/adapters/colour/promote", json={"version": 1})
        await add(http, adapter(tmp_path, "liar", 0.9, 0.4))
        answer = await http.post("/adapters/colour/promote", json={"version": 2})
        assert answer.status_code == 422
        assert answer.json()["error"]["reasons"][0]["code"] == "record_differs"
        found = (await http.get("/adapters/colour")).json()
        assert (found["live"], found["versions"][1]["state"]) == (1, "refused")


async def test_without_a_controller_it_is_written_down(live: LiveGateway, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """202 when it is not done within wait_s, with what is pending; a dry run says the steps and changes nothing."""
    await add(http, adapter(tmp_path, "red"))
    dry = await http.post("/adapters/colour/promote?dry_run=true", json={"version": 1})
    assert (dry.status_code, dry.json()["dry_run"], len(dry.json()["steps"]), dry.json()["pending"]) == (200, True, 2, None)
    waiting = await http.post("/adapters/colour/promote?wait_s=0.2", json={"version": 1})
    assert (waiting.status_code, waiting.json()["live"], waiting.json()["pending"]) == (202, None, "1 is being loaded; 1 becomes live then")
    checked = await http.post("/adapters/colour/versions?dry_run=true", json={"path": str(tmp_path / "in" / "red")})
    assert (checked.status_code, checked.json()["dry_run"], checked.json()["version"]) == (200, True, 1)


async def test_the_gate(live: LiveGateway, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """Promotion on a route with a suite is 409 gate_required until it passed; force needs a reason and is audited."""
    await add(http, adapter(tmp_path, "red"), "judged")
    answer = await http.post("/adapters/judged/promote", json={"version": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "gate_required")
    blind = await http.post("/adapters/judged/promote", json={"version": 1, "force": True})
    assert (blind.status_code, blind.json()["error"]["param"]) == (400, "reason")
    forced = await http.post("/adapters/judged/promote?wait_s=0", json={"version": 1, "force": True, "reason": "incident 12"})
    assert forced.status_code == 202
    audit = (await http.get("/adapters/judged")).json()["audit"]
    assert (audit[0]["reason"], audit[0]["detail"]["force"], audit[0]["detail"]["unproven"]) == ("incident 12", True, True)


async def test_wrong_requests(live: LiveGateway, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """Unknown adapters and versions are 404, impossible changes 409, malformed ones 400 or 422, all in our error shape."""
    await add(http, adapter(tmp_path, "red"))
    cases = [
        ("GET", "/adapters/none", None, 404),
        ("POST", "/adapters/none/load", {"version": 1}, 404),
        ("POST", "/adapters/colour/load", {"version": 9}, 404),
        ("POST", "/adapters/colour/load", {}, 400),
        ("POST", "/adapters/colour/canary", {"version": 1}, 400),
        ("POST", "/adapters/colour/rollback", {}, 409),
        ("POST", "/adapters/colour/load", {"version": 1, "nonsense": True}, 400),
        ("POST", "/adapters/colour/destroy", {"version": 1}, 400),
        ("POST", "/adapters/..%2Fup/versions", {"path": str(tmp_path / "in" / "red")}, 404),
        ("POST", "/adapters/a b/versions", {"path": str(tmp_path / "in" / "red")}, 400),
    ]
    for method, path, content, status in cases:
        answer = await http.request(method, path, json=content)
        assert (path, answer.status_code) == (path, status), answer.text
        if answer.status_code != 404 or "none" in path:
            assert json.loads(answer.text)["error"]["message"]
