"""Claims that only a real vLLM can show. One replica is shared; it is killed once, in the last test."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from router.errors import AdapterRefused
from serving.guard import members
from tests.engines import RealEngine

pytestmark = pytest.mark.vllm


def text(answer: dict[str, object]) -> str:
    return str(answer["choices"][0]["text"])  # type: ignore[index]


def test_trained_and_served_numbers_agree(real_engine: RealEngine) -> None:
    """What PEFT computed and what vLLM serves differ by rounding only, base and adapter alike: the adapter is proven, live, and answers under its own name."""
    number = real_engine.add("colour", "red")
    found = real_engine.ask("promote", "colour", number)
    assert (found["done"], found["live"]) == (True, number)
    numbers = found["versions"][0]["verified"]
    assert numbers["proof"] == "proven"
    assert numbers["base_max"] < 1e-4
    assert numbers["adapter_max"] < 1e-4
    assert numbers["effect_mean"] > 0.05
    answer = real_engine.complete("local/colour@1")
    assert answer["model"] == "local/colour@1"
    assert real_engine.complete("local")["model"] == "local"
    assert text(answer) != text(real_engine.complete("local"))


def test_two_versions_answer_differently_and_a_rollback_is_at_once(real_engine: RealEngine) -> None:
    """Both are loaded under names of their own; the flip back needs no engine."""
    number = real_engine.add("colour", "green")
    assert real_engine.ask("promote", "colour", number)["live"] == number
    assert text(real_engine.complete("local/colour@1")) != text(real_engine.complete("local/colour@2"))
    assert real_engine.ask("rollback", "colour", wait_s=0)["live"] == 1


def test_an_adapter_that_is_not_what_was_recorded_is_refused(real_engine: RealEngine) -> None:
    """Red's weights with green's record, as after a mix-up: vLLM loads it with 200, the verification does not let it in, and it is unloaded."""
    mixed = real_engine.directory / "adapters" / "mixed"
    shutil.copytree(real_engine.directory / "adapters" / "red", mixed)
    shutil.copy(real_engine.directory / "adapters" / "green" / "probes.json", mixed / "probes.json")
    number = real_engine.add("mixed", "mixed")
    with pytest.raises(AdapterRefused, match="off the trainer's record"):
        real_engine.ask("load", "mixed", number)
    assert text(real_engine.complete("local/colour@1"))


def test_a_foreign_adapter_is_unproven_and_one_without_effect_stays_out(real_engine: RealEngine) -> None:
    """Without a record it must only differ from the base; zero weights never reach the engine."""
    foreign = real_engine.directory / "adapters" / "foreign"
    shutil.copytree(real_engine.directory / "adapters" / "green", foreign)
    (foreign / "probes.json").unlink()
    found = real_engine.ask("load", "foreign", real_engine.add("foreign", "foreign"))
    assert found["versions"][0]["proof"] == "unproven"
    with pytest.raises(AdapterRefused, match="exactly as the base"):
        real_engine.add("nothing", "zero")
    assert found["versions"][0]["verified"]["effect_max"] > 0.01


def test_retiring_takes_the_name_away(real_engine: RealEngine) -> None:
    """After the drain the engine does not know the name any more, the files stay for a while."""
    real_engine.ask("load", "leaving", real_engine.add("leaving", "green"))
    assert text(real_engine.complete("local/leaving@1"))
    found = real_engine.ask("retire", "leaving", 1)
    assert found["versions"][0]["state"] == "retired"
    with pytest.raises(Exception, match="404"):
        real_engine.complete("local/leaving@1")


def test_a_killed_server_comes_back_with_its_adapters(real_engine: RealEngine) -> None:
    """kill -9 of vLLM: its helpers go too, it is started again, and it is ready only with the same adapters loaded and verified."""
    before = real_engine.ready()
    record = json.loads((real_engine.config.server.data_dir / "engines" / "local-0.json").read_text())
    said = text(real_engine.complete("local/colour@1"))
    os.kill(record["server"], signal.SIGKILL)
    real_engine.until(lambda: not real_engine.replicas()[0].healthy, 10)
    real_engine.until(lambda: members(record["server"]) == [], 15)
    after = real_engine.ready()
    assert after.url != before.url
    assert after.restarts == before.restarts + 1
    versions = {v["version"]: v["replicas"] for v in real_engine.ask("rollback", "colour", 1, wait_s=0)["versions"]}
    assert versions == {1: [0], 2: [0]}
    assert text(real_engine.complete("local/colour@1")) == said
