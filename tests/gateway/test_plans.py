"""From configuration and registry to the view: which candidates there are, how each is called, what a name means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway import plans
from gateway.prices import PriceBook
from gateway.view import Facts, FleetView, RoutePlan
from router.errors import RequestError
from router.types import Stage
from serving.states import State
from serving.views import AdapterView, ReplicaView, VersionView
from tests.gateway.live_gateway import config_of

DIGEST = "ab" * 32
PRICES = PriceBook()


def body(**more: Any) -> dict[str, Any]:
    return {
        "providers": {
            "openai": {"kind": "openai", "api_key": "sk-1", "headers": {"OpenAI-Organization": "org"}},
            "az": {"kind": "azure", "base_url": "https://x.openai.azure.com/openai/v1", "api_key": "az-1", "models": ["gpt-4o"]},
        },
        "engines": {"local": {"urls": ["http://10.0.0.5:8000", "http://10.0.0.6:8000/"], "api_key": "vk", "gpu_hour_usd": 2.5}},
        "routes": {"r": {"candidates": [{"provider": "openai", "model": "gpt-4o-mini"}, {"engine": "local", "adapter": "a"}, {"engine": "local"}]}},
        **more,
    }


def replica(index: int, *, healthy: bool = True, model: str = "local") -> ReplicaView:
    return ReplicaView("local", index, f"http://10.0.0.{5 + index}:8000", "ready", healthy, 0, "", model=model, max_model_len=4096 - index)


def version(number: int, *replicas: int) -> VersionView:
    return VersionView("a", number, DIGEST if number == 2 else "00", "/x", State.LOADED, replicas=replicas)


def view_of(tmp_path: Path, adapters: Mapping[str, AdapterView] | None = None, replicas: tuple[ReplicaView, ...] = (), **facts: Any) -> FleetView:
    config = config_of(tmp_path, body())
    return plans.build(config, Facts(version=1, adapters=adapters or {}, replicas={"local": replicas}, **facts), PRICES, 1.79e9)


def backends(plan: RoutePlan) -> list[str]:
    return [candidate.backend for candidate in plan.snapshot.candidates]


def test_without_anything_loaded(tmp_path: Path) -> None:
    """Candidates that cannot be called are still in the decision: no live version, no replica."""
    plan = view_of(tmp_path).routes["r"]
    assert backends(plan) == ["openai/gpt-4o-mini", "local/a", "local"]
    hosted, adapter, base = plan.snapshot.candidates
    assert hosted.price is not None
    assert hosted.context_tokens == 128_000
    assert (adapter.adapter, adapter.version, adapter.stage) == ("a", None, Stage.BLOCKED)
    assert base.gpu_hour_nanousd == 2_500_000_000
    assert plan.backends["local"].bases == ()
    assert plan.first_hosted is plan.backends["openai/gpt-4o-mini"]
    assert not plan.sandbox


def test_live_and_canary_are_two_candidates(tmp_path: Path) -> None:
    """Each version is called only where it is loaded and verified, under the name the engine knows it by."""
    adapter = AdapterView("a", "local", live=1, canary_version=2, canary_percent=10.0, versions=(version(1, 0, 1), version(2, 1)))
    plan = view_of(tmp_path, {"a": adapter}, (replica(0), replica(1))).routes["r"]
    assert backends(plan) == ["openai/gpt-4o-mini", "local/a@1", "local/a@2", "local"]
    live, canary = plan.snapshot.candidates[1:3]
    assert (live.stage, live.canary_percent, live.context_tokens) == (Stage.OPEN, 0.0, 4095)
    assert (canary.stage, canary.canary_percent, canary.version) == (Stage.CANARY, 10.0, 2)
    assert plan.backends["local/a@1"].bases == ("http://10.0.0.5:8000/v1", "http://10.0.0.6:8000/v1")
    assert plan.backends["local/a@2"].bases == ("http://10.0.0.6:8000/v1",)
    assert plan.backends["local/a@2"].names == {"http://10.0.0.6:8000/v1": "local/a@2"}
    assert plan.backends["local/a@1"].slots == 2 * plans.PRIOR_SLOTS
    assert plan.backends["local/a@1"].headers == {"authorization": "Bearer vk"}


def test_stages_are_per_route(tmp_path: Path) -> None:
    """What was decided for a route counts there."""
    adapter = AdapterView("a", "local", live=1, versions=(version(1, 0),))
    plan = view_of(tmp_path, {"a": adapter}, (replica(0),), stages={("r", "a", 1): Stage.SHADOW}).routes["r"]
    assert plan.snapshot.candidates[1].stage is Stage.SHADOW


def test_an_adapter_of_another_engine_is_none_of_ours(tmp_path: Path) -> None:
    """The name alone does not make it ours."""
    adapter = AdapterView("a", "elsewhere", live=1, versions=(version(1, 0),))
    assert backends(view_of(tmp_path, {"a": adapter}, (replica(0),)).routes["r"])[1] == "local/a"


def test_an_unhealthy_replica_is_not_called(tmp_path: Path) -> None:
    """Only healthy ones have addresses."""
    plan = view_of(tmp_path, {}, (replica(0, healthy=False), replica(1))).routes["r"]
    assert plan.backends["local"].bases == ("http://10.0.0.6:8000/v1",)


def test_a_base_with_a_name_of_its_own(tmp_path: Path) -> None:
    """A vLLM that someone else runs may call its base something else: that is what is sent, and answers are renamed."""
    backend = view_of(tmp_path, {}, (replica(0, model="Qwen/Qwen2.5-7B"),)).routes["r"].backends["local"]
    assert backend.names == {"http://10.0.0.5:8000/v1": "Qwen/Qwen2.5-7B"}
    assert backend.rename is not None
    assert backend.rename.apply(b'{"model": "Qwen/Qwen2.5-7B"}') == b'{"model": "local"}'


def pinned(view: FleetView, name: str) -> RoutePlan:
    return plans.pinned(view, plans.resolve(view, name), name, PRICES, 1.79e9)


def test_what_can_be_pinned(tmp_path: Path) -> None:
    """A model, the base, the live version, a version, a digest; stages do not apply."""
    adapter = AdapterView("a", "local", live=1, versions=(version(1, 0), version(2, 0)))
    view = view_of(tmp_path, {"a": adapter}, (replica(0),), stages={("r", "a", 1): Stage.BLOCKED})
    for name, backend in (
        ("openai/gpt-9", "openai/gpt-9"),
        ("az/gpt-4o", "az/gpt-4o"),
        ("local", "local"),
        ("local/a", "local/a@1"),
        ("local/a@2", "local/a@2"),
        (f"local/a@sha256:{DIGEST}", "local/a@2"),
    ):
        plan = pinned(view, name)
        assert backends(plan) == [backend]
        assert plan.pinned
        assert plan.route is None
        assert plan.snapshot.candidates[0].stage is Stage.OPEN
    for name in ("az/gpt-9", "local/b", "local/a@3", f"local/a@{'cd' * 32}"):
        with pytest.raises(RequestError) as caught:
            pinned(view, name)
        assert caught.value.code == "model_not_found"


def test_a_pinned_adapter_without_a_live_version(tmp_path: Path) -> None:
    """It exists, it just cannot answer yet."""
    adapter = AdapterView("a", "local", versions=(version(1, 0),))
    plan = pinned(view_of(tmp_path, {"a": adapter}, (replica(0),)), "local/a")
    assert plan.snapshot.candidates[0].version is None


def test_a_pin_on_a_route_keeps_the_routes_rules(tmp_path: Path) -> None:
    """Timeouts, captures and the name of the route stay; the choice is gone; both snapshots have records."""
    view = view_of(tmp_path, {}, (replica(0),))
    plan = plans.pinned_on(view.routes["r"], pinned(view, "local"))
    assert (plan.name, plan.route, backends(plan), plan.pinned) == ("r", "r", ["local"], True)
    assert set(plan.bodies) == {plan.snapshot.digest, plan.spent.digest}
    assert plan.snapshot_of(plan.spent.digest) is plan.spent
    assert plan.snapshot_of(plan.snapshot.digest) is plan.snapshot
    assert not plan.spent.hosted_budget_left


def test_credentials(tmp_path: Path) -> None:
    """Each provider gets its own key and headers, Azure under its own name too; no secret shows in a repr."""
    view = view_of(tmp_path)
    openai, azure = pinned(view, "openai/x").backends["openai/x"], pinned(view, "az/gpt-4o").backends["az/gpt-4o"]
    assert openai.headers == {"authorization": "Bearer sk-1", "openai-organization": "org"}
    assert azure.headers == {"authorization": "Bearer az-1", "api-key": "az-1"}
    assert azure.bases == ("https://x.openai.azure.com/openai/v1",)
    assert "sk-1" not in repr(openai)
    assert "az-1" not in repr(view)


def test_equal_facts_give_equal_digests(tmp_path: Path) -> None:
    """Decisions of many views share one snapshot record."""
    first, second = view_of(tmp_path), view_of(tmp_path)
    assert first.routes["r"].snapshot == second.routes["r"].snapshot
    assert first.version == 1


@pytest.mark.parametrize(
    ("args", "slots", "tools"),
    [([], plans.PRIOR_SLOTS, False), (["--max-num-seqs", 4, "--tool-call-parser=hermes"], 4, True), (["--max-num-seqs=8"], 8, False)],
)
def test_what_an_engines_arguments_say(tmp_path: Path, args: list[object], slots: int, tools: bool) -> None:
    """A launched engine takes tools only with a parser, and runs as many sequences as it is told to."""
    (tmp_path / "model").mkdir()
    config = config_of(tmp_path, body(engines={"local": {"model": str(tmp_path / "model"), "args": args}}))
    backend = plans.build(config, Facts(replicas={"local": (replica(0),)}), PRICES, 1.79e9).routes["r"].backends["local"]
    assert backend.slots == slots
    assert ("tools" in backend.candidate.takes) is tools


def test_large_prompts_have_prices_of_their_own(tmp_path: Path) -> None:
    """Where a provider charges more for long prompts, the settled price is looked up again."""
    config = config_of(
        tmp_path,
        {
            "providers": {"g": {"kind": "compatible", "base_url": "https://generativelanguage.googleapis.com/v1beta/openai"}},
            "server": {"default_provider": "g"},
        },
    )
    prices = PriceBook(config.prices, {"g": str(config.providers["g"].base_url)})
    view = plans.build(config, Facts(), prices, 1.79e9)
    tiered = plans.pinned(view, plans.resolve(view, "g/gemini-2.5-pro"), "g/gemini-2.5-pro", prices, 1.79e9).backends["g/gemini-2.5-pro"]
    assert tiered.tiered
    assert not pinned(view_of(tmp_path), "openai/gpt-4o-mini").backends["openai/gpt-4o-mini"].tiered
