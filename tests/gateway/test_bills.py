"""Bills worked out by hand, model by model, from the published prices: the arithmetic stands in each test, in nano-dollars per token times tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.call import Call
from gateway.config.prices import PriceOverride
from gateway.costing import all_hosted, price_call
from gateway.prices import PriceBook
from gateway.view import Backend
from router.types import Candidate, Decision, Features, Live, Usage

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ADDRESSES = {
    "groq": "https://api.groq.com/openai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "perplexity": "https://api.perplexity.ai",
    "mine": "http://127.0.0.1:9/v1",
}
BOOK = PriceBook((), ADDRESSES)


def backend(model: str, provider: str = "openai", kind: str = "openai", book: PriceBook = BOOK, at: float | None = None) -> Backend:
    """As gateway.plans makes it: the price of a small request beside whether that depends on the size."""
    now = NOW.timestamp() if at is None else at
    small, large = (book.price(provider, kind, model, now, input_tokens=size) for size in (None, 10**8))
    tiered = small is not None and large is not None and small.input != large.input
    candidate = Candidate(f"{provider}/{model}", "hosted", provider, model, price=small)
    return Backend(candidate, ("b",), {"b": model}, {}, provider_kind=kind, tiered=tiered, priced_until=book.next_change(provider, kind, model, now))


def bill(of: Backend, usage: Usage, tier: str | None = None, *, at: float | None = None, book: PriceBook = BOOK) -> tuple[int | None, str]:
    """What the ledger books for an answer with this usage."""
    call = Call(of, "b", 1.0, 0.0, status=200, usage=usage, service_tier=tier)
    price_call(call, Live(of.candidate.backend), Features(prompt_bytes=4), book, NOW.timestamp() if at is None else at)
    return call.cost_nanousd, call.cost_state


def test_gpt_4o_mini_with_a_cached_beginning() -> None:
    """$0.15 fresh, $0.075 cached, $0.60 out per million: 600 x 150 + 400 x 75 + 200 x 600 = 90,000 + 30,000 + 120,000 = $0.00024."""
    assert bill(backend("gpt-4o-mini"), Usage(1000, 400, 200)) == (240_000, "known")


def test_o3_thinks_at_the_price_of_output() -> None:
    """$2 in, $8 out, reasoning is output: 500 x 2,000 + 1,200 x 8,000 (1,000 of them reasoning) = 1,000,000 + 9,600,000 = $0.0106."""
    assert bill(backend("o3"), Usage(500, 0, 1200, 1000)) == (10_600_000, "known")


def test_a_price_of_its_own_for_reasoning() -> None:
    """$2 in, $8 out, $3 for reasoning: 100 x 2,000 + 200 x 8,000 + 700 x 3,000 = 200,000 + 1,600,000 + 2,100,000 = $0.0039."""
    assert bill(backend("perplexity/sonar-deep-research", "openrouter", "compatible"), Usage(100, 0, 900, 700)) == (3_900_000, "known")


def test_gpt_audio_hears_and_speaks() -> None:
    """$2.50 text in, $32 audio in, $10 text out, $64 audio out: 50 x 2,500 + 450 x 32,000 + 50 x 10,000 + 200 x 64,000
    = 125,000 + 14,400,000 + 500,000 + 12,800,000 = $0.027825."""
    assert bill(backend("gpt-audio"), Usage(500, 0, 250, 0, audio_input=450, audio_output=200)) == (27_825_000, "known")


def test_gpt_5_in_the_flex_tier() -> None:
    """$0.625, $0.0625 cached, $5: 500 x 625 + 501 x 62.5 + 99 x 5,000 = 312,500 + 31,312.5 + 495,000 = 838,812.5, and a half goes to the even neighbour."""
    assert bill(backend("gpt-5"), Usage(1001, 501, 99, 40), "flex") == (838_812, "known")


def test_gpt_4o_mini_in_the_priority_tier() -> None:
    """$0.25, $0.125 cached, $1: 1 x 250 + 2 x 125 + 3 x 1,000 = 3,500."""
    assert bill(backend("gpt-4o-mini"), Usage(3, 2, 3), "priority") == (3_500, "known")


def test_gpt_4o_in_a_batch() -> None:
    """$1.25 in, $5 out: 2,000 x 1,250 + 300 x 5,000 = 2,500,000 + 1,500,000 = $0.004."""
    assert bill(backend("gpt-4o"), Usage(2000, 0, 300), "batch") == (4_000_000, "known")


def test_gpt_5_4_with_a_long_prompt() -> None:
    """Above 272,000 input tokens every token costs more, $5, $0.50 cached, $22.50: 200,000 x 5,000 + 100,000 x 500 + 1,000 x 22,500
    = 1,000,000,000 + 50,000,000 + 22,500,000 = $1.0725. At 272,000 exactly: 272,000 x 2,500 + 1,000 x 15,000 = $0.695."""
    assert bill(backend("gpt-5.4"), Usage(300_000, 100_000, 1000)) == (1_072_500_000, "known")
    assert bill(backend("gpt-5.4"), Usage(272_000, 0, 1000)) == (695_000_000, "known")


def test_gpt_6_sol_fills_its_cache() -> None:
    """$2 in, $0.20 cached, $2.50 written to the cache, $10 out: 493 x 2,000 + 300 x 200 + 3,207 x 2,500 + 10 x 10,000
    = 986,000 + 60,000 + 8,017,500 + 100,000 = $0.0091635; in the flex tier half of it."""
    usage = Usage(4000, 300, 10, 0, cache_write=3207)
    assert bill(backend("gpt-6-sol"), usage) == (9_163_500, "known")
    assert bill(backend("gpt-6-sol"), usage, "flex") == (4_581_750, "known")


def test_gpt_5_fills_its_cache_for_nothing() -> None:
    """OpenAI charges no fee for writing where it lists none: 3,000 x 1,250 + 10 x 10,000 = 3,850,000, written or not."""
    assert bill(backend("gpt-5"), Usage(3000, 0, 10, cache_write=2048)) == bill(backend("gpt-5"), Usage(3000, 0, 10)) == (3_850_000, "known")


def test_groq_calls_its_ordinary_tier_on_demand() -> None:
    """$0.59 in, $0.79 out: 100 x 590 + 10 x 790 = 66,900. A tier that nobody recorded is unknown."""
    model = backend("llama-3.3-70b-versatile", "groq", "compatible")
    assert bill(model, Usage(100, 0, 10), "on_demand") == bill(model, Usage(100, 0, 10)) == (66_900, "known")
    assert bill(model, Usage(100, 0, 10), "performance") == (None, "unknown")


def test_an_override_prices_every_kind_and_long_requests() -> None:
    """$1 in, $0.1 cached, $1.25 written, $2 out, $3 reasoning, $10 heard, $20 spoken; above 100 input tokens $5 in and $7 out, and nothing else is known there.

    100 - 10 - 20 = 70 x 1,000 + 10 x 100 + 20 x 1,250 + (50 - 5) = 45 x 2,000 + 5 x 3,000 = 70,000 + 1,000 + 25,000 + 90,000 + 15,000 = 201,000.
    Heard and spoken alone: 40 x 1,000 + 60 x 10,000 + 30 x 2,000 + 20 x 20,000 = 40,000 + 600,000 + 60,000 + 400,000 = 1,100,000.
    """
    long = {"input_tokens": 100, "input_usd_per_m": 5, "output_usd_per_m": 7}
    given = {"provider": "mine", "model": "m", "input_usd_per_m": 1, "cached_input_usd_per_m": 0.1, "cache_write_usd_per_m": 1.25, "output_usd_per_m": 2}
    given |= {"reasoning_usd_per_m": 3, "audio_input_usd_per_m": 10, "audio_output_usd_per_m": 20, "above": [long]}
    book = PriceBook([PriceOverride.model_validate(given)], ADDRESSES)
    model = backend("m", "mine", "compatible", book)
    assert bill(model, Usage(100, 10, 50, 5, cache_write=20), book=book) == (201_000, "known")
    assert bill(model, Usage(100, 0, 50, 0, audio_input=60, audio_output=20), book=book) == (1_100_000, "known")
    assert bill(model, Usage(101, 0, 1), book=book) == (101 * 5_000 + 7_000, "known")
    assert bill(model, Usage(101, 50, 0), book=book) == (101 * 5_000, "known")
    assert bill(model, Usage(101, 0, 1, audio_output=1), book=book) == (None, "unknown")
    assert bill(model, Usage(101, 0, 1, cache_write=1), book=book) == (None, "unknown")


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("gpt-4o-audio-preview", Usage(500, 0, 100, audio_input=400)),
        ("gpt-4o-audio-preview", Usage(500, 0, 100, audio_output=1)),
        ("gpt-3.5-turbo", Usage(500, 0, 100, cache_write=1)),
        ("gpt-99", Usage(500, 0, 100)),
        ("gpt-4o-mini-realtime-preview", Usage(500, 100, 100, audio_input=400)),
    ],
)
def test_what_is_not_priced_makes_the_cost_unknown(model: str, usage: Usage) -> None:
    """Audio without a price for audio, cache writes without one, a model nobody knows, cached audio of which nobody says how much it is."""
    assert bill(backend(model), usage) == (None, "unknown")
    plain = Usage(usage.input, 0, usage.output)
    assert (bill(backend(model), plain)[1] == "known") == (model != "gpt-99")


def test_a_fee_for_citations_makes_the_price_unknown() -> None:
    """Usage does not count them, so the tokens alone would understate the bill."""
    assert BOOK.price("perplexity", "compatible", "sonar-deep-research", NOW) is None


def test_a_price_that_changes_between_two_looks_at_the_fleet() -> None:
    """An answer after the change has the new price, although the fleet was built before it."""
    given: dict[str, Any] = {"provider": "mine", "model": "m", "output_usd_per_m": 0}
    change = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
    overrides = [{**given, "input_usd_per_m": 1, "until": "2026-11-24T12:00:00Z"}, {**given, "input_usd_per_m": 3, "effective": "2026-11-24T12:00:00Z"}]
    book = PriceBook([PriceOverride.model_validate(each) for each in overrides], ADDRESSES)
    model = backend("m", "mine", "compatible", book, at=change - 30)
    assert bill(model, Usage(10), book=book, at=change - 0.001) == (10_000, "known")
    assert bill(model, Usage(10), book=book, at=change) == (30_000, "known")


def test_what_it_would_have_cost_knows_long_prompts_and_audio() -> None:
    """gpt-5.4 for 300,000 tokens that an engine answered: 300,000 x 5,000 + 10 x 22,500 = $1.500225. Audio that it cannot price is unknown."""
    local = Call(Backend(Candidate("local", "local", "local", "m"), ("b",), {"b": "m"}, {}), "b", 1.0, 0.0, usage_state="provider")
    decision = Decision("d", "r", (), None, (), Features(prompt_bytes=4), (), "", 1.0, 0, "v")
    local.usage = Usage(300_000, 0, 10)
    assert all_hosted(local, backend("gpt-5.4"), decision, BOOK, NOW.timestamp()) == 1_500_225_000
    local.usage = Usage(300, 0, 10, audio_input=5)
    assert all_hosted(local, backend("gpt-5.4"), decision, BOOK, NOW.timestamp()) is None
