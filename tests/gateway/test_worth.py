"""The verdict gathered from a ledger, a curve, prices and stated costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway import worth, worth_page
from gateway.config.load import loads
from gateway.config.models import Config
from gateway.store import curves, exchanges, ladder
from gateway.store.curves import Curve
from gateway.store.schema import upgrade
from router.errors import ConfigError, RequestError
from router.types import Attempt, Exchange, Outcome, Usage
from router.utilisation import Point
from serving.database import connect, reading, writing

DAY = 86_400.0
NOON = 1_795_435_200.0  # 2026-11-23T12:00:00Z
TEXT = """\
providers: {openai: {base_url: "http://127.0.0.1:9/v1", api_key: k}, odd: {kind: compatible, base_url: "http://127.0.0.1:9/v1"}}
engines: {local: {urls: ["http://127.0.0.1:9"], gpu_hour_usd: 2.0}, free: {urls: ["http://127.0.0.1:8"]}}
prices: [{provider: openai, model: big, input_usd_per_m: 2, output_usd_per_m: 12}]
worth: {engineering_weeks: 2}
routes:
  triage: {candidates: [{provider: openai, model: big}, {engine: local, adapter: triage}]}
  strange: {candidates: [{provider: odd, model: nobody-knows}]}
  unpriced: {candidates: [{provider: openai, model: big}, {engine: free}]}
  own: {candidates: [{engine: local}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loads(TEXT, tmp_path / "breakeven.yaml", {})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = connect("sqlite:///breakeven.db", tmp_path)
    upgrade(engine)
    yield engine
    engine.dispose()


def answered(identity: str, time: float, tokens: tuple[int, int], route: str = "triage") -> Exchange:
    usage = Usage(tokens[0], 0, tokens[1])
    call = Attempt("openai/big", 200, None, time, 10.0, 20.0, usage, "provider", 5, "known")
    row = Exchange(
        *(identity, time, route, "chat.completions", "openai/big", None, None, {}, False, 200, Outcome.OK, usage, "provider", 5, "known"),
        *(None, 5, 10.0, 20.0, 0.1, "cost", None),
    )
    return Exchange(**{**{f: getattr(row, f) for f in row.__dataclass_fields__}, "attempts": (call,)})


@pytest.fixture
def lived(database: Engine) -> Engine:
    """Twenty days with 8 M prompt and 2 M generated tokens each, in four hours of the day; and half a day today."""
    with writing(database) as conn:
        for day in range(1, 21):
            exchanges.insert(conn, [answered(f"r{day}-{n}", NOON - day * DAY + 3600 * n, (2_000_000, 500_000)) for n in range(4)])
        exchanges.insert(conn, [answered("today", NOON - 60, (9_000_000, 1))])
        exchanges.insert(conn, [answered("other", NOON - 3 * DAY, (9_000_000, 1), "strange")])
    return database


Ask = Callable[..., dict[str, Any]]


def ask(engine: Engine, config: Config, route: str = "triage", values: dict[str, float] | None = None, tokens: float | None = None) -> dict[str, Any]:
    with reading(engine) as conn:
        return worth.document(conn, config, worth.Asked(route, values or {}, tokens), NOON)


def test_traffic_is_the_mean_of_whole_days(lived: Engine) -> None:
    """Parts of days, today's and the first, and other routes do not count; the peak is told by hours."""
    with reading(lived) as conn:
        found, hours, _ = worth.traffic_of(conn, "triage", NOON)
    assert (found.days, found.requests, found.input_tokens, found.output_tokens) == (19, 4, 8e6, 2e6)
    assert found.growth == pytest.approx(0.0, abs=1e-9)
    assert len(hours) == 20 * 24
    with reading(lived) as conn:
        assert worth.traffic_of(conn, "nobody", NOON)[0].tokens == 0


def test_the_document_rests_on_the_ledger(lived: Engine, config: Config) -> None:
    """8 M at 2 dollars and 2 M at 12 are 40 dollars a day; the hour is the engine's, the weeks are the configuration's, the rest is stated."""
    found = ask(lived, config)
    assert found["hosted_usd_per_m"] == pytest.approx(4.0)
    assert found["monthly_usd"]["zero_shot_hosted"] == pytest.approx(40 * 365.25 / 12, abs=0.01)
    known = found["assumptions"]
    assert (known["gpu_hour_usd"]["value"], known["gpu_hour_usd"]["origin"]) == (2.0, "configured")
    assert (known["engineering_weeks"]["value"], known["engineering_weeks"]["origin"]) == (2.0, "configured")
    assert (known["label_usd"]["origin"], known["peak"]["origin"]) == ("default", "measured")
    assert found["verdict"] == "not_yet"
    assert set(found) >= {"verdict", "recommended_rung", "reason", "monthly_usd", "break_even", "assumptions"}
    assert set(found["break_even"]) >= {"tokens_per_day", "date", "low", "high"}


def test_what_is_stated_flips_it(lived: Engine, config: Config) -> None:
    """Without one-off costs and operation, on a cheap GPU, the same traffic is worth it; and the more of it."""
    free = dict.fromkeys(("label_items", "engineering_weeks", "training_gpu_hours", "evaluation_usd", "operation_hours"), 0.0) | {"gpu_hour_usd": 0.5}
    found = ask(lived, config, values=free)
    assert found["verdict"] == "train"
    assert found["one_off_usd"] == 0
    assert ask(lived, config, tokens=1e12)["verdict"] == "train"


def test_a_curve_replaces_the_published_rate(lived: Engine, config: Config) -> None:
    """1,000 prompt and 100 generated tokens a second: 0.8 M and 0.2 M keep it busy for 2,800 s."""
    with writing(lived) as conn:
        curves.keep(conn, Curve("local", NOON, 0, "base", None, None, None, 64, True, (Point(4, 1000.0, 100.0),)))
    known = ask(lived, config)["assumptions"]["gpu_s_per_m"]
    assert (known["value"], known["origin"]) == (pytest.approx(2800.0), "measured")


def test_a_ladder_says_what_training_competes_with(lived: Engine, config: Config) -> None:
    """A measured rung at a quarter of the cost is the alternative, and stands in the monthly costs."""
    rows = [
        ("zero_shot_hosted", 0.9, 4_000_000, 1000.0, 100.0),
        ("few_shot", 0.91, 1_000_000, 2000.0, 100.0),
        ("fine_tuned", 0.92, None, 200.0, 100.0),
        ("zero_shot_base", 0.5, None, 1000.0, 100.0),
    ]
    report = {
        "rungs": [
            {
                "rung": name,
                "model": f"x/{name}",
                "score": score,
                "interval": [score, score],
                "good": score > 0.6,
                "proven": True,
                "cost_per_1k_nanousd": cost,
                "input_tokens": entered,
                "output_tokens": made,
                "latency_p50_ms": 1.0,
                "latency_p95_ms": 2.0,
            }
            for name, score, cost, entered, made in rows
        ]
    }
    with writing(lived) as conn:
        ladder.keep(conn, "triage", report, NOON - DAY)
    found = ask(lived, config)
    assert found["recommended_rung"] == "few_shot"
    assert found["monthly_usd"]["few_shot"] == pytest.approx(found["monthly_usd"]["zero_shot_hosted"] / 4, abs=0.01)
    factors = {rung["name"]: rung["cost_factor"] for rung in found["rungs"]}
    assert factors == {"zero_shot_hosted": 1.0, "few_shot": 0.25, "fine_tuned": pytest.approx(600 / 1400), "zero_shot_base": 1.0}


def test_missing_prices_are_named(lived: Engine, config: Config) -> None:
    """A hosted price nobody knows, an hour nobody priced, no hosted candidate at all: said, not guessed."""
    assert "odd/nobody-knows" in ask(lived, config, "strange")["reason"]
    found = ask(lived, config, "unpriced")
    assert "engines.free.gpu_hour_usd" in found["reason"]
    assert found["monthly_usd"]["fine_tuned"] is None
    assert ask(lived, config, "unpriced", {"gpu_hour_usd": 1.0})["missing"] == []
    assert "hosted candidate" in ask(lived, config, "own")["reason"]
    with pytest.raises(RequestError, match="no route 'nobody'"):
        ask(lived, config, "nobody")


def test_the_first_hours_are_taken_for_a_day(database: Engine, config: Config) -> None:
    """An hour of traffic is an answer already, marked as what it is; none at all has a break-even and no guess."""
    assert ask(database, config)["traffic"]["tokens"] == 0
    assert ask(database, config, tokens=5e6)["traffic"]["tokens"] == 5e6
    with writing(database) as conn:
        exchanges.insert(conn, [answered("now", NOON - 1800, (1000, 500))])
    found = ask(database, config)
    assert found["traffic"]["tokens"] == pytest.approx(1500 * 24)
    assert any("no whole day yet" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("label_usd", "NAME=NUMBER"),
        ("label_usd=x", "NAME=NUMBER"),
        ("lable_usd=1", "there is no assumption"),
        ("label_usd=-1", "label_usd"),
        ("peak=nan", "peak"),
    ],
)
def test_a_wrong_assumption_is_refused(word: str, said: str) -> None:
    """Said with its name."""
    with pytest.raises(ConfigError, match=said):
        worth.stated([word], "--assume")


def test_the_page_stands_alone(lived: Engine, config: Config) -> None:
    """Pictures, every assumption with its source, nothing from elsewhere; also where nothing can be worked out."""
    page = worth_page.page(ask(lived, config))
    assert page.count("<svg") == 2
    assert "Bureau of Labor Statistics" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "cannot be worked out" in worth_page.page(ask(lived, config, "strange"))
