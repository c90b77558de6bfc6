"""The whole loop on real parts: `breakeven serve` with a real vLLM, real training on the demo's base, adapters swapped, engines and gateways killed.

One stage (gateway, engine, sandbox provider, two trained adapters) is shared by the tests, which run in the order of this file.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from deploy.demo import tickets
from deploy.demo.stage import Stage, StageError
from deploy.demo.traffic import Tally, send

pytestmark = [pytest.mark.vllm, pytest.mark.torch]

RECIPE = """\
name: {name}
base: {base}
data: dataset
quantization: {quantization}
lora: {{r: 8, alpha: 16, dropout: 0.0, target_modules: all-linear}}
train: {{epochs: 1, batch_size: 8, learning_rate: {rate}, max_length: 512, seed: {seed}}}
output: adapters/{name}
"""
ROUTE = "support-triage"


class World:
    """The stage and what the tests need of it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.batch = tickets.generate(500, 99)

    @property
    def client(self) -> openai.OpenAI:
        """The official SDK, pointed at the gateway by its base URL alone."""
        return openai.OpenAI(base_url=self.stage.url, api_key=self.stage.key, max_retries=0, timeout=60)

    def traffic(self, count: int, start: int = 0) -> Tally:
        """Send some tickets; what the customers saw."""
        tally = Tally()
        asyncio.run(send(self.stage.url, self.stage.key, self.batch[start : start + count], 4, tally))
        return tally

    def train(self, name: str, quantization: str = "none", rate: float = 0.003, seed: int = 1) -> str:
        """A real adapter, trained for one epoch on the captured traffic."""
        text = RECIPE.format(name=name, base=self.stage.base, quantization=quantization, rate=rate, seed=seed)
        self.stage.write(f"{name}.yaml", text)
        return str(self.stage.breakeven("train", f"{name}.yaml")["path"])

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """An admin request."""
        return httpx.post(f"http://127.0.0.1:{self.stage.port}{path}", json=body, timeout=150)

    def live(self) -> int | None:
        """The live version."""
        found: int | None = self.stage.get(f"/admin/adapters/{ROUTE}")["live"]
        return found

    def rows(self) -> int:
        """Ledger rows of the route, once the spool is drained."""
        last = -1
        for _ in range(50):
            report = self.stage.get("/admin/costs?group_by=route")
            now = sum(r["requests"] for r in report["data"] if r["route"] == ROUTE)
            if now == last:
                return now
            last = now
            time.sleep(0.3)
        raise AssertionError("the ledger does not come to rest")

    def healthy(self) -> bool:
        """Whether the engine's replica is."""
        return all(r["healthy"] for r in self.stage.get("/admin/status")["replicas"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Traffic captured, a dataset built, version 1 (LoRA) and 2 (QLoRA) trained while vLLM starts."""
    with Stage(tmp_path_factory.mktemp("loop") / "stage") as stage:
        stage.start({"traffic": tickets.generate(500, 99), "suite": tickets.generate(30, 5)})
        made = World(stage)
        assert made.traffic(90).failed == 0
        stage.breakeven("dataset", "build", "--route", ROUTE, "--out", "dataset")
        made.train("plain")
        made.train("quantised", quantization="nf4", seed=2)
        stage.wait_for_engine()
        yield made


def test_an_adapter_goes_in_and_live_under_traffic(world: World) -> None:
    """Added by HTTP (201), loaded, verified against the trainer's log-probs, promoted while requests flow: none fails, answers name the version."""
    added = world.post(f"/admin/adapters/{ROUTE}/versions", {"path": str(world.stage.directory / "adapters" / "plain")})
    assert added.status_code == 201
    assert (added.json()["version"], added.json()["state"]) == (1, "registered")
    assert len(added.json()["digest"]) == 64
    loaded = world.post(f"/admin/adapters/{ROUTE}/load", {"version": 1})
    assert loaded.status_code == 200
    assert loaded.json()["versions"][0]["state"] == "loaded"
    assert loaded.json()["versions"][0]["verified"]["conversations"] > 0  # vLLM's /tokenize gave the trainer's ids
    assert loaded.json()["live"] is None
    refused = world.post(f"/admin/adapters/{ROUTE}/promote", {"version": 1})
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "gate_required"

    async def promote_meanwhile() -> tuple[Tally, Tally]:
        during, after = Tally(), Tally()
        async with asyncio.TaskGroup() as group:
            group.create_task(send(world.stage.url, world.stage.key, world.batch[100:160], 4, during))
            await asyncio.sleep(0.5)
            done = await asyncio.to_thread(world.post, f"/admin/adapters/{ROUTE}/promote", {"version": 1, "force": True, "reason": "test"})
            assert done.json()["live"] == 1
        await send(world.stage.url, world.stage.key, world.batch[160:180], 4, after)
        return during, after

    during, after = asyncio.run(promote_meanwhile())
    assert (during.failed, after.failed) == (0, 0)
    assert after.local == 20
    answer = world.client.chat.completions.create(model=ROUTE, messages=list(world.batch[0].messages), max_tokens=64)  # type: ignore[arg-type]
    assert answer.model == f"local/{ROUTE}@1"


def test_the_official_sdk_gets_its_own_exceptions(world: World) -> None:
    """A bad key, an unknown model and a too long context raise the SDK's classes; streaming, models and not streaming work."""
    client = world.client
    assert ROUTE in [model.id for model in client.models.list().data]
    chunks = list(client.chat.completions.create(model=ROUTE, messages=list(world.batch[1].messages), max_tokens=64, stream=True))  # type: ignore[arg-type]
    assert chunks[-1].choices[0].finish_reason
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=world.stage.url, api_key="bk-wrong", max_retries=0).models.list()
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="no/such-model", messages=[{"role": "user", "content": "hi"}])
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model=f"local/{ROUTE}@1", messages=[{"role": "user", "content": "word " * 4000}])
    assert long.value.code == "context_length_exceeded"


def test_a_quantised_run_is_served_and_rolled_back(world: World) -> None:
    """A QLoRA adapter verifies on the unquantised base, goes live, and one call takes it back."""
    assert world.post(f"/admin/adapters/{ROUTE}/versions", {"path": str(world.stage.directory / "adapters" / "quantised")}).json()["version"] == 2
    document = world.stage.breakeven("adapters", "promote", ROUTE, "--version", "2", "--force", "--reason", "test")
    assert (document["live"], document["previous"], document["done"]) == (2, 1, True)
    time.sleep(1.0)
    answer = world.client.chat.completions.create(model=ROUTE, messages=list(world.batch[2].messages), max_tokens=64)  # type: ignore[arg-type]
    assert answer.model == f"local/{ROUTE}@2"
    assert world.post(f"/admin/adapters/{ROUTE}/rollback", {}).json()["live"] == 1
    time.sleep(1.0)
    answer = world.client.chat.completions.create(model=ROUTE, messages=list(world.batch[2].messages), max_tokens=64)  # type: ignore[arg-type]
    assert answer.model == f"local/{ROUTE}@1"


@pytest.mark.parametrize(("spoil", "code"), [("base", "base"), ("rank", "rank"), ("pickle", "pickle")])
def test_wrong_adapters_are_refused_and_the_live_one_stays(world: World, spoil: str, code: str) -> None:
    """An adapter for another base, of too high rank, or with a pickle: 422 with reason and remedy; the live version keeps answering."""
    source, target = world.stage.directory / "adapters" / "plain", world.stage.directory / "adapters" / f"bad-{spoil}"
    shutil.copytree(source, target)
    config = json.loads((target / "adapter_config.json").read_text())
    if spoil == "base":
        manifest = json.loads((target / "breakeven.json").read_text())
        manifest["base"] = {key: "0" * 64 if isinstance(value, str) and len(value) == 64 else value for key, value in manifest["base"].items()}
        (target / "breakeven.json").write_text(json.dumps(manifest))
    elif spoil == "rank":
        config["r"] = 512
        (target / "adapter_config.json").write_text(json.dumps(config))
    else:
        (target / "adapter_model.safetensors").rename(target / "adapter_model.bin")
    answer = world.post(f"/admin/adapters/{ROUTE}/versions", {"path": str(target)})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "adapter_refused")
    assert any(code in reason["code"] for reason in error["reasons"]), error
    assert all(reason["remedy"] for reason in error["reasons"])
    assert world.live() == 1
    assert world.traffic(3, 300).failed == 0


def test_killed_engine_comes_back_with_its_adapter(world: World) -> None:
    """`kill -9` of vLLM during traffic: requests go on at the hosted candidate, none is lost, the engine returns with the live version.

    A stream whose first bytes the client already has cannot be switched: it ends as an error, never as a success.
    """
    before = world.rows()

    async def kill_meanwhile() -> Tally:
        tally = Tally()
        async with asyncio.TaskGroup() as group:
            group.create_task(send(world.stage.url, world.stage.key, world.batch[180:300], 4, tally))
            await asyncio.sleep(0.7)
            victims = subprocess.run(
                ["pgrep", "-f", f"vllm.*{world.stage.directory.parent.name}|vllm.*{world.stage.base}"], capture_output=True, text=True, check=False
            )
            pids = [int(pid) for pid in victims.stdout.split()]
            assert pids
            os.kill(pids[-1], signal.SIGKILL)
        return tally

    tally = asyncio.run(kill_meanwhile())
    assert [error for error in tally.errors if "broke off its answer" not in error] == []
    assert tally.failed <= 4
    assert world.rows() - before == 120
    deadline = time.monotonic() + 150
    while not (world.healthy() and world.traffic(1, 301).local):
        assert time.monotonic() < deadline, "the engine did not come back with its adapter"
        time.sleep(1.0)
    assert any(r["restarts"] for r in world.stage.get("/admin/status")["replicas"])


def test_killed_gateway_has_lost_no_answered_request(world: World, tmp_path: Path) -> None:
    """`kill -9` of the whole gateway during traffic: after a restart every answered request is in the ledger and nothing of the old one runs."""
    before = world.rows()

    async def kill_meanwhile() -> Tally:
        tally = Tally()
        async with asyncio.TaskGroup() as group:
            group.create_task(send(world.stage.url, world.stage.key, world.batch[300:420], 4, tally))
            await asyncio.sleep(1.2)
            world.stage.kill("serve")
        return tally

    tally = asyncio.run(kill_meanwhile())
    assert 0 < tally.answered < 120
    world.stage.start_gateway()
    rows = world.rows() - before
    assert tally.answered <= rows <= tally.answered + 8  # the few that were under way are there as interrupted
    world.stage.wait_for_engine()
    deadline = time.monotonic() + 60
    while not world.traffic(1, 302).local:
        assert time.monotonic() < deadline, "the live adapter was not loaded again"
        time.sleep(0.5)
    with pytest.raises(StageError):
        world.stage.breakeven("adapters", "load", ROUTE, "--version", "9")
