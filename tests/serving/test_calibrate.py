"""serving.calibrate: what is measured of a server of known speed, and when it is refused. The server is a stand-in on a real socket that takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from router.errors import StateError, UpstreamError, UpstreamRefused
from router.utilisation import Point, saturation
from serving.calibrate import Moment, Plan, busy, calibrate, prepared
from serving.client import Client
from serving.counters import read

PLAN = Plan(batches=(1, 4), seconds=0.3, prompt_tokens=40, most_tokens=64, seed=7)


def tell(url: str, **what: Any) -> None:
    """Set something of the stand-in."""
    for name, value in what.items():
        httpx.post(f"{url}/fake/{name}", json={"status": value})


async def test_rates_are_exact_by_the_clock(server: Callable[[], str]) -> None:
    """A server that needs 2 ms a request, 1 ms for 8 prompt tokens and 5 ms a step of up to 4 answers: the rates and the knee are those, to the last digit."""
    client, points, now = Client(server()), list[Point](), [100.0]

    async def timed(_model: str, prompts: Any, tokens: int, _timeout_s: float) -> tuple[int, int]:
        read, steps = sum(map(len, prompts)), (tokens - 1) * -(-len(prompts) // 4)
        now[0] += 0.002 + read / 8000.0 + 0.005 * steps
        return read, len(prompts) * tokens

    bench = await prepared(client, "their-base", 1, lambda: now[0])
    client.generate = timed  # type: ignore[method-assign]
    await calibrate(bench, Plan((1, 4, 8), 6.0, 784, 512, 1), points.append, lambda _: None)
    assert [point.decode_tokens_per_s for point in points] == [pytest.approx(rate) for rate in (200.0, 800.0, 800.0)]
    assert points[0].prefill_tokens_per_s == pytest.approx(784 / 0.1)
    at = saturation(points)
    assert at is not None
    assert (at.batch, at.prefill_tokens_per_s) == (4, pytest.approx(8 * 784 / (0.002 + 0.784)))
    # about as long as it was asked to take
    assert 18.0 < now[0] - 100.0 < 40.0
    await client.aclose()


async def test_known_speeds_are_found(server: Callable[[], str]) -> None:
    """8,000 prompt tokens/s, and over a socket no more than that; what the counters grew is what was sent; each batch size is announced."""
    url = server()
    tell(url, speed=[8000.0, 200.0, 500.0])
    client, points, moments = Client(url), list[Point](), list[Moment]()
    assert await busy(client, 0.01) is None
    bench = await prepared(client, "their-base", PLAN.seed, asyncio.get_running_loop().time)
    await calibrate(bench, PLAN, points.append, moments.append)
    assert [point.batch for point in points] == [1, 4]
    # The stand-in sleeps as long as its speed says, and never shorter: a busy machine only makes it slower.
    assert all(0.0 < point.prefill_tokens_per_s <= 8000.0 for point in points)
    assert all(point.decode_tokens_per_s > 0.0 for point in points)
    assert not any(point.disturbed for point in points)
    assert [(m.phase, m.done, m.total) for m in moments] == [("batch 1", 0, 2), ("batch 4", 1, 2), ("measured", 2, 2)]
    assert all(m.eta_s is not None and m.eta_s > 0.0 for m in moments[:2])
    counted = read(await client.metrics())
    assert counted is not None
    assert (counted.prompt, counted.generated) == tuple(bench.sent)
    assert await client.version() == "0.0.stand-in"
    await client.aclose()


async def test_prompts_are_never_the_same(server: Callable[[], str]) -> None:
    """Every prompt of a round and of the next is new, so the prefix cache cannot help."""
    client = Client(server())
    sent: list[tuple[int, ...]] = []
    real = client.generate

    async def watched(model: str, prompts: Any, tokens: int, timeout_s: float) -> tuple[int, int]:
        sent.extend(tuple(ids) for ids in prompts)
        return await real(model, prompts, tokens, timeout_s)

    client.generate = watched  # type: ignore[method-assign]
    bench = await prepared(client, "their-base", 3, asyncio.get_running_loop().time)
    await calibrate(bench, Plan((1, 2), 0.05, 20, 4, 3), lambda _: None, lambda _: None)
    assert len(sent) == len(set(sent)) > 10
    assert set().union(*sent) <= set(bench.vocabulary)
    await client.aclose()


async def test_an_engine_in_use_says_so(server: Callable[[], str]) -> None:
    """Requests under way, counters that move, or no counters at all."""
    url = server()
    client = Client(url)
    page = "vllm:prompt_tokens_total 1\nvllm:generation_tokens_total 1\n"
    tell(url, page=page + "vllm:num_requests_running 2\nvllm:num_requests_waiting 1\n")
    assert await busy(client, 0.01) == "it has 2 running and 1 waiting requests"
    tell(url, page="process_cpu_seconds_total 1\n")
    assert "nobody can say" in str(await busy(client, 0.01))
    tell(url, page=None)
    real = client.metrics

    async def between() -> str:
        page = await real()
        await client.one_token("their-base")
        return page

    client.metrics = between  # type: ignore[method-assign]
    assert await busy(client, 0.01) == "it did 2 tokens of work within 0.01 s"
    await client.aclose()


async def test_work_of_others_marks_the_row(server: Callable[[], str]) -> None:
    """Somebody else's request meanwhile: what was measured then is disturbed; a page without counters says nothing of it."""
    url = server()
    client, points = Client(url), list[Point]()
    bench = await prepared(client, "their-base", 1, asyncio.get_running_loop().time)
    real = client.generate

    async def beside(model: str, prompts: Any, tokens: int, timeout_s: float) -> tuple[int, int]:
        await client.one_token(model)
        return await real(model, prompts, tokens, timeout_s)

    client.generate = beside  # type: ignore[method-assign]
    await calibrate(bench, Plan((1,), 0.01, 10, 4, 1), points.append, lambda _: None)
    assert [point.disturbed for point in points] == [True]
    tell(url, page="nothing 1\n")
    await calibrate(bench, Plan((1,), 0.01, 10, 4, 1), points.append, lambda _: None)
    assert not points[1].disturbed
    await client.aclose()


async def test_what_was_measured_is_kept_when_the_server_fails(server: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second batch size fails; the first is in hand. A server that makes another number of tokens, or has no tokenizer, is not measured."""
    url = server()
    client, points = Client(url), list[Point]()
    real = client.generate

    async def fragile(model: str, prompts: Any, tokens: int, timeout_s: float) -> tuple[int, int]:
        if len(prompts) == 2:
            raise UpstreamError("gone")
        return await real(model, prompts, tokens, timeout_s)

    monkeypatch.setattr(client, "generate", fragile)
    bench = await prepared(client, "their-base", 1, asyncio.get_running_loop().time)
    with pytest.raises(UpstreamError, match="gone"):
        await calibrate(bench, Plan((1, 2), 0.01, 10, 4, 1), points.append, lambda _: None)
    assert [point.batch for point in points] == [1]

    async def short(model: str, prompts: Any, tokens: int, timeout_s: float) -> tuple[int, int]:
        return 1, 1

    monkeypatch.setattr(client, "generate", short)
    with pytest.raises(StateError, match="ignore_eos"):
        await calibrate(bench, Plan((1, 2), 0.01, 10, 4, 1), points.append, lambda _: None)
    tell(url, tokenizer=404)
    with pytest.raises(UpstreamRefused, match="404"):
        await prepared(client, "their-base", 1, asyncio.get_running_loop().time)
    tell(url, tokenizer=200)
    monkeypatch.setattr(client, "ids", _one)
    with pytest.raises(UpstreamError, match="told apart"):
        await prepared(client, "their-base", 1, asyncio.get_running_loop().time)
    await client.aclose()


async def _one(_model: str, _text: str) -> list[int]:
    return [7, 7]
