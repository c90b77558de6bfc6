"""The price book: exact, dated, silent about what it does not know."""

from __future__ import annotations

import socket
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as PackageUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from gateway.config.models import Config
from gateway.config.prices import PriceOverride
from gateway.price_package import KINDS, listed, rates
from gateway.prices import PriceBook, book
from router.money import cost
from router.types import Price, Usage

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def override(model: str, effective: str | None, dollars: float | str, provider: str = "openai") -> PriceOverride:
    """An override whose three prices are `dollars`, half of it, and twice of it."""
    amount = Decimal(str(dollars))
    return PriceOverride.model_validate(
        {
            "provider": provider,
            "model": model,
            "effective": effective,
            "input_usd_per_m": amount,
            "cached_input_usd_per_m": amount / 2,
            "output_usd_per_m": amount * 2,
        }
    )


def amounts(price: Price | None) -> tuple[int, int, int | None] | None:
    """Input, output, cached."""
    return None if price is None else (price.input, price.output, price.cached)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini", (150_000_000, 600_000_000, 75_000_000)),
        ("gpt-4o-mini-2024-07-18", (150_000_000, 600_000_000, 75_000_000)),
        ("gpt-4o", (2_500_000_000, 10_000_000_000, 1_250_000_000)),
        ("gpt-4.1", (2_000_000_000, 8_000_000_000, 500_000_000)),
        ("gpt-5", (1_250_000_000, 10_000_000_000, 125_000_000)),
        ("gpt-3.5-turbo", (500_000_000, 1_500_000_000, None)),
        ("text-embedding-3-small", (20_000_000, 0, None)),
    ],
)
def test_published_prices(model: str, expected: tuple[int, int, int | None]) -> None:
    """Dollars per million tokens, as published, in nano-dollars: 0.15 is 150,000,000."""
    price = PriceBook().price("openai", "openai", model, NOW)
    assert amounts(price) == expected
    assert price is not None
    assert price.source.startswith("genai-prices ")


@pytest.mark.parametrize("model", ["whisper-1", "gpt-99", "ft:gpt-4o-mini:org::abc", "gpt-4o-mini-sandbox", "", "🙂"])
def test_what_nobody_priced_is_unknown(model: str) -> None:
    """Never zero, never the price of something similar."""
    assert PriceBook().price("openai", "openai", model, NOW) is None


def test_a_fee_per_call_makes_the_price_unknown() -> None:
    """A price per token would understate what the call costs."""
    book = PriceBook((), {"p": "https://api.perplexity.ai"})
    assert book.price("p", "compatible", "sonar", NOW) is None


def test_one_request_costs_what_it_says_on_the_bill() -> None:
    """1,000 input tokens of which 400 cached, 200 output, gpt-4o-mini: 600 x 0.15 + 400 x 0.075 + 200 x 0.60 = $0.00024."""
    price = PriceBook().price("openai", "openai", "gpt-4o-mini", NOW)
    assert price is not None
    assert cost(Usage(input=1000, cached=400, output=200), price) == 240_000


def test_costs_agree_with_the_package_to_the_nano_dollar() -> None:
    """For every OpenAI model that both price by the token, below and above its brackets."""
    book = PriceBook()
    compared = 0
    for model in next(p for p in providers if p.id == "openai").models:
        for tokens in (1_000, 300_000):
            price = book.price("openai", "openai", model.id, NOW, input_tokens=tokens)
            if price is None:
                continue
            package = calc_price(
                PackageUsage(input_tokens=tokens, cache_read_tokens=100, output_tokens=77), model.id, provider_id="openai", genai_request_timestamp=NOW
            )
            ours = cost(Usage(input=tokens, cached=100, output=77), price)
            assert ours is not None
            assert abs(Decimal(ours) - package.total_price * 10**9) <= Decimal("0.5"), model.id
            compared += 1
    assert compared > 100


def test_a_price_change_has_its_day() -> None:
    """o3 fell to a fifth on 2025-06-10 (UTC)."""
    book = PriceBook()
    change = datetime(2025, 6, 10, tzinfo=UTC)
    assert amounts(book.price("openai", "openai", "o3", change - timedelta(seconds=1))) == (10_000_000_000, 40_000_000_000, 500_000_000)
    assert amounts(book.price("openai", "openai", "o3", change)) == (2_000_000_000, 8_000_000_000, 500_000_000)
    assert amounts(book.price("openai", "openai", "o3", change.timestamp())) == (2_000_000_000, 8_000_000_000, 500_000_000)


def test_before_the_first_recorded_price_it_is_unknown() -> None:
    """The package itself would answer with its first price for any earlier date."""
    start = date(2026, 10, 18)
    info = ModelInfo(
        id="m", match=ClauseEquals("m"), prices=[ConditionalPrice(StartDateConstraint(start), prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2)))]
    )
    assert listed(info, datetime(2026, 10, 17, 23, 59, tzinfo=UTC), None) is None
    found = listed(info, datetime(2026, 10, 18, tzinfo=UTC), None)
    assert found is not None
    assert found.input_mtok == 1


def test_brackets_are_said_or_applied() -> None:
    """gpt-5.4 costs twice as much above 272,000 input tokens: by the size of the request, or the lowest with a note."""
    book = PriceBook()
    base = book.price("openai", "openai", "gpt-5.4", NOW)
    assert amounts(base) == (2_500_000_000, 15_000_000_000, 250_000_000)
    assert base is not None
    assert base.source.endswith(", up to 272000 input tokens")
    at_the_edge = book.price("openai", "openai", "gpt-5.4", NOW, input_tokens=272_000)
    assert amounts(at_the_edge) == amounts(base)
    assert at_the_edge is not None
    assert "input tokens" not in at_the_edge.source
    above = book.price("openai", "openai", "gpt-5.4", NOW, input_tokens=272_001)
    assert amounts(above) == (5_000_000_000, 22_500_000_000, 500_000_000)
    assert above is not None
    assert above.source.endswith(", above 272000 input tokens")


def test_service_tiers_are_priced_where_recorded() -> None:
    """Flex is half of gpt-5, batch half of gpt-3.5-turbo; a tier nobody recorded is unknown, the default tier is the list price."""
    book = PriceBook()
    assert amounts(book.price("openai", "openai", "gpt-5", NOW, service_tier="flex")) == (625_000_000, 5_000_000_000, 62_500_000)
    assert amounts(book.price("openai", "openai", "gpt-3.5-turbo", NOW, service_tier="batch")) == (250_000_000, 750_000_000, None)
    assert book.price("openai", "openai", "gpt-5", NOW, service_tier="default") == book.price("openai", "openai", "gpt-5", NOW)
    assert book.price("openai", "openai", "gpt-4o-mini", NOW, service_tier="flex") is None
    assert book.price("openai", "openai", "gpt-5", NOW - timedelta(days=365), service_tier="flex") is None
    flex = book.price("openai", "openai", "gpt-5", NOW, service_tier="flex")
    assert flex is not None
    assert flex.source.endswith(", flex tier")


def test_overrides_win_from_their_day_and_the_latest_wins() -> None:
    """Before the first of them the package answers; order in the file does not matter."""
    book = PriceBook([override("gpt-4o-mini", "2026-06-01", 4), override("gpt-4o-mini", "2026-03-01", 1)])

    def at(day: str) -> tuple[int, int, int | None] | None:
        return amounts(book.price("openai", "openai", "gpt-4o-mini", datetime.fromisoformat(day).replace(tzinfo=UTC)))

    assert at("2026-02-28T23:59:59") == (150_000_000, 600_000_000, 75_000_000)
    assert at("2026-03-01") == at("2026-05-31T23:59:59") == (1_000_000_000, 2_000_000_000, 500_000_000)
    assert at("2026-06-01") == (4_000_000_000, 8_000_000_000, 2_000_000_000)
    latest = book.price("openai", "openai", "gpt-4o-mini", NOW, service_tier="flex", input_tokens=1)
    assert latest == Price(4_000_000_000, 8_000_000_000, 2_000_000_000, "override 2026-06-01")


def test_an_override_ends_where_it_says() -> None:
    """From `until` on the package answers again, or nobody; a tier's own override comes before the general one, and only while it holds."""
    given = {"provider": "openai", "model": "gpt-4o-mini", "input_usd_per_m": 1, "output_usd_per_m": 1}
    flex = {**given, "service_tier": "flex", "input_usd_per_m": 7, "effective": "2026-05-01", "until": "2026-07-01"}
    found = PriceBook([PriceOverride.model_validate(each) for each in ({**given, "effective": "2026-04-01", "until": "2026-06-01"}, flex)])

    def at(day: str, tier: str | None = None) -> int | None:
        price = found.price("openai", "openai", "gpt-4o-mini", datetime.fromisoformat(day).replace(tzinfo=UTC), service_tier=tier)
        return None if price is None else price.input

    assert [at(day) for day in ("2026-03-31", "2026-04-01", "2026-05-31T23:59:59", "2026-06-01")] == [150_000_000, 10**9, 10**9, 150_000_000]
    assert [at(day, "flex") for day in ("2026-04-30", "2026-05-01", "2026-06-30", "2026-07-01")] == [10**9, 7 * 10**9, 7 * 10**9, None]
    assert found.tiers("openai", "openai", "gpt-4o-mini", datetime(2026, 5, 2, tzinfo=UTC).timestamp()) == ["flex"]


def test_the_next_change_is_known() -> None:
    """The next day a price begins or ends, by overrides and by the package, prices by the hour included; infinity where nothing is recorded."""
    found = PriceBook([override("gpt-4o", "2026-06-01", 4)], {"d": "https://api.deepseek.com"})

    def after(moment: datetime, model: str = "gpt-4o", provider: str = "openai", kind: str = "openai") -> float:
        return found.next_change(provider, kind, model, moment.timestamp())

    assert after(datetime(2026, 5, 1, tzinfo=UTC)) == datetime(2026, 6, 1, tzinfo=UTC).timestamp()
    assert after(datetime(2025, 6, 1, tzinfo=UTC), "o3") == datetime(2025, 6, 10, tzinfo=UTC).timestamp()
    assert after(datetime(2027, 6, 1, tzinfo=UTC)) == after(NOW, "gpt-99") == float("inf")
    for hour in range(0, 48, 5):
        moment = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(hours=hour)
        change = after(moment, "deepseek-flash", "d", "compatible")
        assert 0 < change - moment.timestamp() <= 86_400
        before = found.price("d", "compatible", "deepseek-flash", moment)
        assert before == found.price("d", "compatible", "deepseek-flash", change - 1)
        assert before is not None


def test_overrides_are_of_one_provider_and_model() -> None:
    """Another provider's model of that name keeps its price; an unknown model gets one."""
    book = PriceBook([override("mine", None, "0.000000002", provider="p"), override("gpt-4o", None, 9, provider="p")])
    assert amounts(book.price("p", "compatible", "mine", 0.0)) == (2, 4, 1)
    assert amounts(book.price("p", "compatible", "gpt-4o", 0.0)) == (9_000_000_000, 18_000_000_000, 4_500_000_000)
    assert book.price("openai", "openai", "mine", NOW) is None
    assert amounts(book.price("openai", "openai", "gpt-4o", NOW)) == (2_500_000_000, 10_000_000_000, 1_250_000_000)


def test_no_drift_in_decimals() -> None:
    """A third of a cent with nine decimals is that many nano-dollars."""
    given = {"provider": "p", "model": "m", "input_usd_per_m": 0.1, "output_usd_per_m": "0.333333333"}
    price = PriceBook([PriceOverride.model_validate(given)]).price("p", "compatible", "m", NOW)
    assert price is not None
    assert (price.input, price.output, price.cached) == (100_000_000, 333_333_333, None)


def test_azure_sells_openais_models() -> None:
    """At OpenAI's list price where Azure has no entry of its own."""
    assert amounts(PriceBook().price("az", "azure", "gpt-4o-mini", NOW)) == (150_000_000, 600_000_000, 75_000_000)


def test_a_compatible_provider_is_known_by_its_address() -> None:
    """Groq's address has Groq's prices; an address nobody knows has none, whatever the model is called."""
    book = PriceBook((), {"fast": "https://api.groq.com/openai/v1", "mine": "http://127.0.0.1:9000/v1"})
    assert amounts(book.price("fast", "compatible", "llama-3.3-70b-versatile", NOW)) == (590_000_000, 790_000_000, None)
    assert book.price("mine", "compatible", "gpt-4o", NOW) is None
    assert book.price("unlisted", "compatible", "gpt-4o", NOW) is None


def test_every_price_of_the_package_can_be_read() -> None:
    """No entry is too fine, too strange or negative for nano-dollars."""
    read = 0
    for provider in providers:
        for model in provider.models:
            for step in model.prices if isinstance(model.prices, list) else [model.prices]:
                found = rates(step.prices if isinstance(step, ConditionalPrice) else step, provider.id)
                read += found is not None
                assert found is None or all(price is not None and price >= 0 for kind in KINDS for _, price in getattr(found, kind))
    assert read > 500
    tiered = ModelPrice(input_mtok=TieredPrices(Decimal(1), []), output_mtok=Decimal("0.13999999999999999"))
    assert rates(tiered) is not None


def test_contexts() -> None:
    """How much a model reads, where the package knows."""
    book = PriceBook()
    assert book.context_tokens("gpt-4o-mini") == 128_000
    assert book.context_tokens("whisper-1") is None
    assert book.context_tokens("gpt-99") is None
    assert book.context_tokens("llama-3.3-70b-versatile", provider="p", kind="compatible") is None


def test_no_network_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither building the book nor asking it opens a connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    book = PriceBook((), {"x": "https://example.org/v1"})
    assert book.price("openai", "openai", "gpt-4o", NOW) is not None
    assert book.price("x", "compatible", "gpt-4o", NOW) is None


def test_names_from_clients_do_not_fill_the_memory() -> None:
    """A client that asks for a new name each time finds a bounded book, and right answers."""
    book = PriceBook()
    for number in range(5000):
        book.context_tokens(f"nonsense-{number}", provider="x", kind="compatible")
    assert len(book._models) <= 4096
    assert amounts(book.price("openai", "openai", "gpt-4o", NOW)) == (2_500_000_000, 10_000_000_000, 1_250_000_000)


def test_the_book_of_a_configuration_knows_addresses() -> None:
    """A sandbox of kind openai has OpenAI's prices: that is what it stands for."""
    config = Config.model_validate(
        {"providers": {"s": {"base_url": "http://127.0.0.1:9/v1", "sandbox": True}, "g": {"kind": "compatible", "base_url": "https://api.groq.com/openai/v1"}}}
    )
    prices = book(config)
    assert amounts(prices.price("s", "openai", "gpt-4o-mini", NOW)) == (150_000_000, 600_000_000, 75_000_000)
    assert prices.price("g", "compatible", "llama-3.3-70b-versatile", NOW) is not None
