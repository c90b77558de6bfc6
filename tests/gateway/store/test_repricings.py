"""Re-pricing: exact, at each row's own time, idempotent, resumable, and written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from gateway.config.models import Config
from gateway.costing import FREE_ERRORS
from gateway.prices import book
from gateway.repricing import Progress, Repricer
from gateway.store import decisions, exchanges, records, repricings, shape
from gateway.store.repricings import Repricing
from gateway.store.rollup_tables import rollup_dirty
from gateway.store.tables import attempts as attempts_table
from router import record
from router.errors import StateError
from router.money import cost
from router.types import Attempt, Candidate, CostState, Decision, Exchange, Features, Live, Outcome, Price, Snapshot, Usage
from serving.database import reading, writing

DAY = 1_795_985_600.0  # 2026-11-29T20:53:20Z
PROVIDERS = {"mine": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"}, "openai": {"api_key": "k"}}


def config(*prices: dict[str, Any]) -> Config:
    """Two providers, and these overrides of `mine/m` unless they say otherwise."""
    usual = {"provider": "mine", "model": "m", "output_usd_per_m": 2}
    return Config.model_validate({"providers": PROVIDERS, "prices": [{**usual, **price} for price in prices]})


def call(backend: str = "mine/m", **more: Any) -> Attempt:
    usual = Attempt(backend, 200, None, DAY, 1.0, 2.0, Usage(1000, 0, 500), "provider", 7, "known", "hosted")
    return replace(usual, **more)


def exchange(name: str, *calls: Attempt, time: float = DAY, **more: Any) -> Exchange:
    """A settled exchange of these calls, its cost their sum."""
    last = calls[-1]
    known = all(each.cost_nanousd is not None for each in calls)
    usual = Exchange(
        *(name, time, "r", "chat", last.backend, None, None, {}, False, 200, Outcome.OK, last.usage, last.usage_state),
        *(sum(each.cost_nanousd or 0 for each in calls) if known else None, "known" if known else "unknown", None, None),
        *(1.0, 2.0, None, "cost", None),
        attempts=calls,
    )
    return replace(usual, **more)


def put(engine: Engine, *items: Exchange) -> None:
    with writing(engine) as conn:
        exchanges.insert(conn, items)


def kept(engine: Engine, name: str) -> Exchange:
    with reading(engine) as conn:
        found = exchanges.get(conn, name)
    assert found is not None
    return found.exchange


def run(engine: Engine, found: Config, chunk: int = 3, *, dry: bool = False, **which: Any) -> Repricing:
    """A re-pricing of a whole day around DAY."""
    repricer = Repricer(engine, found, lambda: DAY + 9e5, chunk)
    usual: dict[str, Any] = {"by": "ada", "reason": "late", "since": DAY - 86_400, "until": DAY + 86_400, "provider": None, "model": None}
    return repricer.run(repricer.begin(**{**usual, **which}), lambda _: None, dry=dry)


def test_each_row_has_the_price_of_its_own_time(database: Engine) -> None:
    """$1 in and $2 out before, $3 and $2 after: 1,000 x 1,000 + 500 x 2,000 = 2,000,000, then 1,000 x 3,000 + 500 x 2,000 = 4,000,000."""
    change = "2026-11-29T20:53:20Z"
    prices = config({"input_usd_per_m": 1, "until": change}, {"input_usd_per_m": 3, "effective": change})
    put(database, exchange("before", call(), time=DAY - 0.001), exchange("at", call()), exchange("outside", call(), time=DAY + 86_400))
    done = run(database, prices)
    assert [kept(database, name).cost_nanousd for name in ("before", "at", "outside")] == [2_000_000, 4_000_000, 7]
    assert kept(database, "at").attempts[0].cost_nanousd == 4_000_000
    assert (done.rows, done.changed, done.attempts_changed, done.before_nanousd, done.after_nanousd) == (2, 2, 2, 14, 6_000_000)
    with reading(database) as conn:
        assert repricings.listed(conn, 10) == [done]
        assert {minute for step, minute in conn.execute(select(rollup_dirty.c.step, rollup_dirty.c.start)) if step == 1} >= {int(DAY // 60)}
    again = run(database, prices)
    assert (again.rows, again.changed, again.before_nanousd, again.after_nanousd) == (2, 0, 6_000_000, 6_000_000)


def test_a_dry_run_says_the_same_and_changes_nothing(sqlite: Engine) -> None:
    """Its sums are those of the real one; the ledger and the audit trail stay as they are."""
    put(sqlite, *(exchange(f"r{n}", call(cost_nanousd=n)) for n in range(7)))
    prices = config({"input_usd_per_m": 1})
    dry = run(sqlite, prices, dry=True)
    assert [kept(sqlite, f"r{n}").cost_nanousd for n in range(7)] == list(range(7))
    with reading(sqlite) as conn:
        assert repricings.listed(conn, 10) == []
    real = run(sqlite, prices)
    same = ("rows", "changed", "attempts_changed", "before_nanousd", "after_nanousd", "unknown_before", "unknown_after")
    assert [getattr(dry, name) for name in same] == [getattr(real, name) for name in same] == [7, 7, 7, 21, 14_000_000, 0, 0]


def test_unknown_becomes_known_and_known_unknown(sqlite: Engine) -> None:
    """A price that came gives a cost, one that went takes it away; an exchange is as sure as its least sure attempt; estimates stay estimates."""
    unknown = {"cost_nanousd": None, "cost_state": "unknown"}
    failed = call("mine/m", status=None, error="client_gone", usage=Usage(10), usage_state="estimated", cost_state="estimated")
    put(
        sqlite,
        exchange("late", call(**unknown)),
        exchange("gone", call("mine/other")),
        exchange("half", failed, call("mine/other")),
        exchange("guess", failed),
        exchange("never", call(usage=Usage(), usage_state="unknown", **unknown)),
    )
    done = run(sqlite, config({"input_usd_per_m": 1}))
    found = {name: (kept(sqlite, name).cost_nanousd, kept(sqlite, name).cost_state) for name in ("late", "gone", "half", "guess", "never")}
    assert found == {
        "late": (2_000_000, "known"),
        "gone": (None, "unknown"),
        "half": (None, "unknown"),
        "guess": (10_000, "estimated"),
        "never": (None, "unknown"),
    }
    assert (done.unknown_before, done.unknown_after, done.changed) == (2, 3, 4)
    assert [each.cost_state for each in kept(sqlite, "half").attempts] == ["estimated", "unknown"]


def test_what_was_free_stays_free_and_what_is_local_stays_local(sqlite: Engine) -> None:
    """A refusal costs nothing by any price, an engine's answer has no hosted cost, an interrupted row stays unknown."""
    refused = call("mine/other", status=429, error="http_429", usage=Usage(), cost_nanousd=0)
    unreached = call("mine/other", status=None, error=min(FREE_ERRORS), usage=Usage(), cost_nanousd=0)
    local = call("local/a@1", kind="local", cost_nanousd=0)
    put(sqlite, exchange("refused", refused, unreached, call()), exchange("local", refused, local))
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchanges.interrupted("cut", DAY, "r", "chat", None)])
    done = run(sqlite, config({"input_usd_per_m": 1}))
    assert [each.cost_nanousd for each in kept(sqlite, "refused").attempts] == [0, 0, 2_000_000]
    assert (kept(sqlite, "local").cost_nanousd, kept(sqlite, "cut").cost_nanousd, done.rows) == (0, None, 2)


def test_tiers_sizes_and_kinds_count(sqlite: Engine) -> None:
    """Flex by its own override, long requests by their step, audio by its price: 10 x 500 + 1 x 2,000; 101 x 9,000; 4 x 1,000 + 6 x 50,000."""
    step = {"input_tokens": 100, "input_usd_per_m": 9, "output_usd_per_m": 9}
    prices = config({"input_usd_per_m": 1, "audio_input_usd_per_m": 50, "above": [step]}, {"input_usd_per_m": 0.5, "service_tier": "flex"})
    put(
        sqlite,
        exchange("flex", call(usage=Usage(10, 0, 1), service_tier="flex")),
        exchange("long", call(usage=Usage(101))),
        exchange("heard", call(usage=Usage(10, audio_input=6))),
    )
    run(sqlite, prices)
    assert [kept(sqlite, name).cost_nanousd for name in ("flex", "long", "heard")] == [7_000, 909_000, 304_000]


def test_only_what_was_asked_for(sqlite: Engine) -> None:
    """By provider and by model; the other attempts of a row keep their costs."""
    rows = [exchange("both", call("openai/m"), call("mine/m")), exchange("mine", call("mine/m")), exchange("other", call("mine/n"))]
    put(sqlite, *rows)
    prices = config({"input_usd_per_m": 1}, {"input_usd_per_m": 1, "model": "n"}, {"input_usd_per_m": 1, "provider": "openai"})
    done = run(sqlite, prices, provider="mine", model="m")
    assert (done.rows, done.attempts_changed) == (2, 2)
    assert [each.cost_nanousd for each in kept(sqlite, "both").attempts] == [7, 2_000_000]
    assert (kept(sqlite, "both").cost_nanousd, kept(sqlite, "other").cost_nanousd) == (2_000_007, 7)
    assert run(sqlite, prices, model="n").attempts_changed == 1
    assert run(sqlite, prices, provider="openai").attempts_changed == 1


def test_rows_that_do_not_say_enough_are_left_alone(sqlite: Engine) -> None:
    """A row of before tiers were recorded, of a model that has tiers, and a provider that is configured no more: kept, and counted."""
    put(sqlite, exchange("old", call("openai/gpt-4o-mini")), exchange("plain", call("openai/gpt-4o-audio-preview")), exchange("gone", call("closed/m")))
    with writing(sqlite) as conn:
        conn.execute(attempts_table.update().values(cache_write_tokens=None))
    done = run(sqlite, config())
    assert [kept(sqlite, name).cost_nanousd for name in ("old", "gone")] == [7, 7]
    assert kept(sqlite, "plain").cost_nanousd == 1000 * 2_500 + 500 * 10_000
    assert (done.rows, done.left_alone, done.changed) == (3, 2, 1)


def decided(engine: Engine, name: str, candidates: tuple[Candidate, ...], *live: Live, pinned: bool = False) -> None:
    """Store a decision, as the ingester does."""
    snapshot = Snapshot("r", candidates, pinned=pinned)
    snapshot = replace(snapshot, digest=record.digest(snapshot))
    decision = Decision(name, "r", (), None, (), Features(4), live, snapshot.digest, DAY, 0, "v")
    line = records.decode(records.settle(exchange(name, call()), decision, None)[:-1])
    assert isinstance(line, records.Settle)
    assert line.decision is not None
    body = records.decode(records.snapshot(snapshot.digest, record.to_dict(snapshot))[:-1])
    assert isinstance(body, records.SnapshotBody)
    with writing(engine) as conn:
        decisions.insert_snapshots(conn, [body])
        decisions.insert(conn, [line.decision], decisions.keep_shape(conn, shape.DECISION))


def test_what_it_would_have_cost_is_corrected_too(sqlite: Engine) -> None:
    """A local answer of 1,000 + 500 tokens, converted by the ratios of then (half as many): 500 x 1,000 + 250 x 2,000 = 1,000,000. A hosted one: its own cost.
    Where the decision is gone, or the first candidate is not in it, the row keeps what it had."""
    hosted, local = Candidate("mine/m", "hosted", "mine", "m", price=Price(1, 1)), Candidate("local", "local", "local", "b")
    learnt = (Live("mine/m", bytes_per_token=4.0, output_tokens=5.0), Live("local", bytes_per_token=2.0, output_tokens=5.0))
    decided(sqlite, "d1", (local, hosted), *learnt)
    decided(sqlite, "d2", (local,), *learnt)
    decided(sqlite, "d3", (hosted,), pinned=True)
    answered = call("local", kind="local", cost_nanousd=0)
    put(
        sqlite,
        exchange("local", answered, decision_id="d1", all_hosted_nanousd=5),
        exchange("hosted", call(), decision_id="d1", all_hosted_nanousd=7),
        exchange("none", answered, decision_id="d2", all_hosted_nanousd=None),
        exchange("lost", answered, decision_id="d9", all_hosted_nanousd=5),
        exchange("pinned", call(), decision_id="d3", all_hosted_nanousd=5),
    )
    done = run(sqlite, config({"input_usd_per_m": 1}))
    names = ("local", "hosted", "none", "lost", "pinned")
    assert [kept(sqlite, name).all_hosted_nanousd for name in names] == [1_000_000, 2_000_000, None, 5, 5]
    assert (done.all_hosted_changed, done.left_alone) == (2, 2)
    assert (done.all_hosted_before_nanousd, done.all_hosted_after_nanousd) == (22, 3_000_010)
    gone = run(sqlite, config({"input_usd_per_m": 1, "effective": "2027-01-01"}))
    assert [kept(sqlite, name).all_hosted_nanousd for name in names] == [None, None, None, 5, 5]
    assert gone.unknown_after == 2


def test_interrupted_anywhere_it_goes_on_and_comes_to_the_same(sqlite: Engine) -> None:
    """After each chunk it may end; resumed, every row is looked at once and the sums are whole."""
    put(sqlite, *(exchange(f"r{n}", call(cost_nanousd=n), time=DAY + n // 3) for n in range(11)))
    prices = config({"input_usd_per_m": 1})
    repricer = Repricer(sqlite, prices, lambda: DAY, 2)
    item = repricer.begin("ada", None, DAY, DAY + 100, None, None)

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            repricer.run(item, interrupt)
        item = repricer.resumed(item.id)
    seen: list[Progress] = []
    done = repricer.run(item, seen.append)
    assert (done.rows, done.changed, done.before_nanousd, done.after_nanousd) == (11, 11, 55, 22_000_000)
    assert [kept(sqlite, f"r{n}").cost_nanousd for n in range(11)] == [2_000_000] * 11
    assert seen[-1] == Progress(1, 1)
    with pytest.raises(StateError, match="has ended"):
        repricer.resumed(item.id)
    with pytest.raises(StateError, match="there is no re-pricing"):
        repricer.resumed("rpr_none")


def test_other_prices_are_another_re_pricing(sqlite: Engine) -> None:
    """Half a period by one book and half by another would be neither: it says what to do instead."""
    put(sqlite, *(exchange(f"r{n}", call()) for n in range(4)))
    first = Repricer(sqlite, config({"input_usd_per_m": 1}), lambda: DAY, 2)
    item = first.begin("ada", None, DAY, DAY + 100, None, None)
    with pytest.raises(KeyboardInterrupt):
        first.run(item, lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(StateError, match="prices have changed since"):
        Repricer(sqlite, config({"input_usd_per_m": 2}), lambda: DAY).resumed(item.id)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 50))
def test_every_row_costs_what_the_book_says(template: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, chunk: int) -> None:
    """Random rows, prices and chunks: each attempt costs usage x price at its time, each exchange their sum, the audit's sums are the ledger's."""
    from shutil import copy

    from serving.database import connect

    directory = tmp_path_factory.mktemp("random")
    copy(template, directory / "b.db")
    engine, chance = connect("sqlite:///b.db", directory), Random(seed)
    dates = sorted(chance.sample(range(1, 28), 3))
    given_prices = [{"input_usd_per_m": chance.randrange(10**6) / 1000, "effective": f"2026-11-{day:02d}"} for day in dates]
    prices = config(*given_prices, {"input_usd_per_m": 3, "cached_input_usd_per_m": 1, "service_tier": "flex", "effective": "2026-11-05"})
    start = DAY - 29 * 86_400

    def attempt() -> Attempt:
        whole = chance.randrange(10**5)
        usage = Usage(whole, chance.randrange(whole + 1), chance.randrange(10**4))
        amount = chance.choice([None, chance.randrange(10**9)])
        state: CostState = "unknown" if amount is None else "known"
        return call(usage=usage, cost_nanousd=amount, cost_state=state, service_tier=chance.choice([None, "default", "flex", "scale"]))

    rows = [exchange(f"r{n}", *(attempt() for _ in range(chance.randrange(1, 4))), time=start + chance.random() * 29 * 86_400) for n in range(count)]
    put(engine, *rows)
    done = run(engine, prices, chunk, since=start, until=DAY)
    priced = book(prices)
    after: list[int | None] = []
    for row in rows:
        now = kept(engine, row.id)
        for each in now.attempts:
            price = priced.price("mine", "compatible", "m", row.time, input_tokens=each.usage.input, service_tier=each.service_tier)
            assert each.cost_nanousd == (None if price is None else cost(each.usage, price))
        amounts = [each.cost_nanousd for each in now.attempts]
        assert now.cost_nanousd == (None if None in amounts else sum(amount or 0 for amount in amounts))
        after.append(now.cost_nanousd)
    assert (done.rows, done.after_nanousd, done.unknown_after) == (count, sum(amount or 0 for amount in after), after.count(None))
    assert (done.before_nanousd, done.unknown_before) == (sum(row.cost_nanousd or 0 for row in rows), sum(row.cost_nanousd is None for row in rows))
    again = run(engine, prices, 7, since=start, until=DAY)
    assert (again.changed, again.before_nanousd, again.after_nanousd) == (0, done.after_nanousd, done.after_nanousd)
    engine.dispose()
