"""The live numbers of a process: what is learnt from answers, and what a decision sees of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway import live as live_module
from gateway.live import SUSPECT_S, Board, Observation, Ticket
from gateway.prompt_queue import Place
from router.headroom import Headroom
from router.types import Candidate, Errand

HOSTED = Candidate("one/m", "hosted", "one", "m")
LOCAL = Candidate("local", "local", "local", "local", adapter="t", version=1)


def seen(**more: object) -> Observation:
    values = {"prompt_bytes": 300, "input_tokens": 100, "cached_tokens": 25, "output_tokens": 10, "ttft_ms": 50.0, "total_ms": 250.0, **more}
    return Observation(**values)  # type: ignore[arg-type]


def test_nothing_is_known_at_first() -> None:
    """A backend that was never seen is that: unknown, not zero."""
    live = Board().live("r", HOSTED, True, 0, 0.0)
    assert (live.ttft_ms, live.tpot_ms, live.output_tokens, live.in_flight, live.breaker) == (None, None, None, 0, "closed")


def test_a_stream_teaches() -> None:
    """Time to first token, time per token, sizes; per route what depends on the route."""
    board = Board()
    board.learn("r", HOSTED, seen(predicted_ms=250.0), 1.0)
    live = board.live("r", HOSTED, True, 0, 1.0)
    assert (live.ttft_ms, live.tpot_ms, live.output_tokens, live.cached_share) == (50.0, 20.0, 10.0, 0.25)
    assert live.bytes_per_token == pytest.approx(1500 / 400)
    other = board.live("s", HOSTED, True, 0, 1.0)
    assert (other.ttft_ms, other.output_tokens, other.bytes_per_token) == (50.0, None, 4.0)


def test_a_whole_answer_teaches_its_total() -> None:
    """Its first token is not seen: any prediction of the same length is right all the same."""
    board = Board()
    board.learn("r", HOSTED, seen(ttft_ms=None), 1.0)
    live = board.live("r", HOSTED, True, 0, 1.0)
    assert live.ttft_ms is not None
    assert live.tpot_ms is not None
    assert live.ttft_ms + 10 * live.tpot_ms == pytest.approx(250.0)
    assert board.usual_total_ms("one/m") == 250.0
    assert board.usual_total_ms("never") is None


def test_answers_without_tokens() -> None:
    """Embeddings have no output; a whole answer after streams takes their first token."""
    board = Board()
    board.learn("r", HOSTED, seen(ttft_ms=None, output_tokens=None, input_tokens=None), 1.0)
    assert board.live("r", HOSTED, True, 0, 1.0).tpot_ms == 0.0
    board = Board()
    board.learn("r", HOSTED, seen(), 1.0)
    board.learn("r", HOSTED, seen(ttft_ms=None, total_ms=450.0), 1.0)
    live = board.live("r", HOSTED, True, 0, 1.0)
    assert (live.ttft_ms, live.tpot_ms) == (50.0, 30.0)


def test_work_on_the_gpu_has_a_value() -> None:
    """Hosted dollars saved per GPU-second: what one answer saved over its share of the GPU."""
    board = Board()
    board.learn("r", LOCAL, seen(saved_nanousd=1000, slots=4), 1.0)
    board.learn("r", HOSTED, seen(saved_nanousd=1000), 1.0)
    assert board.live("r", LOCAL, True, 4, 1.0).work_value == pytest.approx(1000 * 4 / 0.25)
    assert board.live("r", HOSTED, True, 0, 1.0).work_value == 0.0


def test_calls_in_flight() -> None:
    """Counted per backend and per replica."""
    board = Board()
    first, second = board.begin("local", "http://a", 0.0), board.begin("local", "http://a", 0.0)
    board.begin("one/m", None, 0.0)
    assert (board.live("r", LOCAL, True, 4, 0.0).in_flight, board.replica_load("http://a"), board.in_flight()) == (2, 2, 3)
    board.end("local", "http://a", first)
    board.end("local", "http://a", second)
    board.end("one/m", None, Ticket(1, 0, probe=False))
    assert (board.in_flight(), board.replica_load("http://a"), board._replicas) == (0, 0, {})


def test_failures_open_the_circuit() -> None:
    """And a wait that was asked for is kept until it is over."""
    board = Board()
    for _ in range(5):
        board.result("one/m", False, 10.0)
    assert board.live("r", HOSTED, True, 0, 10.0).breaker == "open"
    assert board.breakers(10.0) == {"one/m": "open"}
    assert board.live("r", HOSTED, True, 0, 100.0).breaker == "half_open"
    board.retry_after("one/m", 50.0)
    assert board.live("r", HOSTED, True, 0, 49.0).retry_at == 50.0
    assert board.live("r", HOSTED, True, 0, 50.0).retry_at is None


def test_calls_from_before_it_opened_do_not_count() -> None:
    """Only those let through as probes say how the backend is now."""
    board = Board()
    before = board.begin("one/m", None, 9.0)
    for _ in range(5):
        board.result("one/m", False, 10.0)
    probe = board.begin("one/m", None, 16.0)
    assert (before.probe, probe.probe) == (False, True)
    for _ in range(3):
        board.result("one/m", True, 16.0, probe=before.probe)
    assert board.live("r", HOSTED, True, 0, 16.0).breaker == "half_open"
    board.result("one/m", True, 16.0, probe=True)
    board.result("one/m", True, 16.0, probe=True)
    assert board.live("r", HOSTED, True, 0, 16.0).breaker == "closed"


def test_whose_turn_a_probe_is() -> None:
    """At once, then not while one is under way, then a second after it began."""
    board = Board()
    for _ in range(5):
        board.result("one/m", False, 10.0)
    assert board.live("r", HOSTED, True, 0, 10.0).probe_due
    ticket = board.begin("one/m", None, 10.0)
    assert not board.live("r", HOSTED, True, 0, 14.0).probe_due
    board.end("one/m", None, ticket)
    assert not board.live("r", HOSTED, True, 0, 10.5).probe_due
    assert board.live("r", HOSTED, True, 0, 11.0).probe_due


def test_what_a_provider_has_left() -> None:
    """Less what was sent after the call that brought the news; an answer to an earlier call that comes later is none."""
    board = Board()
    first = board.begin("one/m", None, 1.0, 100)
    second = board.begin("one/m", None, 1.0, 200)
    board.begin("one/m", None, 1.0, 300)
    board.headroom("one/m", Headroom(10, 60.0, 1_000, 60.0), second)
    board.headroom("one/m", Headroom(50, 60.0, 5_000, 60.0), first)
    live = board.live("r", HOSTED, True, 0, 2.0)
    assert (live.requests_left, live.tokens_left) == (9, 700)
    live = board.live("r", HOSTED, True, 0, 60.0)
    assert (live.requests_left, live.tokens_left) == (None, None)


def test_percentiles_of_streams_and_of_whole_answers() -> None:
    """Streams by their first token, whole answers by how far they exceed what was predicted; nothing before twenty were seen."""
    board = Board()
    for _ in range(20):
        assert board.p95_ms("one/m", 500.0, stream=True) is None
        assert board.p95_ms("one/m", 500.0, stream=False) is None
        board.learn("r", HOSTED, seen(), 1.0)
        board.learn("r", HOSTED, seen(ttft_ms=None, total_ms=300.0, predicted_ms=200.0), 1.0)
    first, whole = board.p95_ms("one/m", None, stream=True), board.p95_ms("one/m", 500.0, stream=False)
    assert first is not None
    assert whole is not None
    assert 25.0 < first < 100.0
    assert 375.0 < whole < 1500.0
    assert board.p95_ms("one/m", None, stream=False) is None
    assert board.p95_ms("never", None, stream=True) is None


def test_who_was_given_up_on_is_learnt_from_too() -> None:
    """A loser that had waited longer than is usual moves the percentile up; one that was cut off early says nothing."""
    board = Board()
    board.waited("one/m", 900.0, None, stream=True)
    for _ in range(20):
        board.learn("r", HOSTED, seen(), 1.0)
        board.learn("r", HOSTED, seen(ttft_ms=None, predicted_ms=250.0), 1.0)
    before = board.p95_ms("one/m", None, stream=True), board.p95_ms("one/m", 100.0, stream=False)
    board.waited("one/m", 10.0, None, stream=True)
    board.waited("one/m", 10.0, 250.0, stream=False)
    assert (board.p95_ms("one/m", None, stream=True), board.p95_ms("one/m", 100.0, stream=False)) == before
    board.waited("one/m", 900.0, None, stream=True)
    board.waited("one/m", 900.0, 250.0, stream=False)
    after = board.p95_ms("one/m", None, stream=True), board.p95_ms("one/m", 100.0, stream=False)
    assert all((late or 0.0) > (early or 0.0) for late, early in zip(after, before, strict=True))


def test_what_is_usual_outlasts_a_brown_out() -> None:
    """The prediction follows at once, what a slow call is measured against does not."""
    board = Board()
    assert board.usual_ms("one/m", 10.0) is None
    for _ in range(20):
        board.learn("r", HOSTED, seen(), 1.0)
    assert board.usual_ms("one/m", 10.0) == pytest.approx(50.0 + 10 * 20.0)
    for _ in range(12):
        board.learn("r", HOSTED, seen(ttft_ms=5_000.0, total_ms=9_000.0), 1.0)
    assert (board.live("r", HOSTED, True, 0, 1.0).ttft_ms or 0.0) > 1_500.0
    assert (board.usual_ms("one/m", 0.0) or 0.0) < 100.0


def test_a_replica_is_suspected_for_a_while() -> None:
    """Not for ever: the next request after that tries it again."""
    board = Board()
    board.suspect("http://a", 10.0)
    assert not board.usable("http://a", 10.0 + SUSPECT_S - 0.1)
    assert board.usable("http://b", 10.0)
    assert board.usable("http://a", 10.0 + SUSPECT_S)
    assert board._suspect == {}


def test_presets_give_way_to_what_is_seen() -> None:
    """An earlier process's numbers are a start, never a correction."""
    board = Board()
    board.preset("one/m", 10.0, 1.0, 100.0, 1.0)
    board.preset_route("r", "one/m", 7.0, 2.0, 1.0)
    live = board.live("r", HOSTED, True, 0, 1.0)
    assert (live.ttft_ms, live.tpot_ms, live.output_tokens) == (10.0, 1.0, 7.0)
    assert live.bytes_per_token == pytest.approx(2.0, rel=0.1)
    board.preset("one/m", 99.0, 9.0, 999.0, 2.0)
    board.preset_route("r", "one/m", 99.0, 9.0, 2.0)
    assert board.live("r", HOSTED, True, 0, 1.0) == live
    board.preset("two/m", None, None, None, 1.0)
    board.preset_route("r", "two/m", None, None, 1.0)
    assert board.live("r", Candidate("two/m", "hosted", "two", "m"), True, 0, 1.0).ttft_ms is None


def test_made_up_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The older half of what is idle goes; what is in use stays."""
    monkeypatch.setattr(live_module, "_MOST_NAMES", 10)
    board = Board()
    board.begin("one/kept", None, 1.0)
    for i in range(40):
        board.learn(f"one/{i}", Candidate(f"one/{i}", "hosted", "one", str(i)), seen(), 1.0)
    assert len(board._backends) <= 10
    assert len(board._routes) <= 10
    assert board.in_flight() == 1


def test_an_engine_is_one_under_all_its_names() -> None:
    """Who is in flight under another name is seen, and the prompts before one, until their first tokens."""
    board = Board()
    adapter = Candidate("local/t@1", "local", "local", "local/t@1", adapter="t", version=1)
    ticket = board.begin("local", "u", 0.0, errand=Errand("local", 700.0, stream=True))
    board.learn("r", adapter, seen(), 0.0)
    live = board.live("r", adapter, True, 4, 0.0)
    assert (live.in_flight, live.others_in_flight, live.ahead_tokens) == (0, 1, 700.0)
    assert board.live("r", LOCAL, True, 4, 0.0).others_in_flight == 0
    board.first(ticket)
    assert board.live("r", adapter, True, 4, 0.0).ahead_tokens == 0.0
    board.end("local", "u", ticket)
    assert board.live("r", adapter, True, 4, 0.0).others_in_flight == 0


def test_what_delays_a_first_token_is_learnt() -> None:
    """From the prompt's length at a provider; from all that was ahead at an engine, and tokens by how many were in flight."""
    board = Board()
    for n in range(1, 30):
        board.learn("r", HOSTED, seen(input_tokens=100 * n, ttft_ms=40.0 + 3.0 * n, total_ms=240.0 + 3.0 * n), 1.0)
        place = Place("local", n, 100.0 * n, 1000.0 * n, 0.0)
        board.learn("r", LOCAL, seen(ttft_ms=50.0 + 20.0 * n, total_ms=50.0 + 20.0 * n + 10 * (5.0 + 0.5 * n), place=place), 1.0)
    hosted, local = (board.live("r", candidate, True, 64, 1.0) for candidate in (HOSTED, LOCAL))
    assert hosted.prompt_ms == pytest.approx(0.03)
    assert local.prompt_ms == pytest.approx(0.02)
    assert local.load_ms == pytest.approx(0.01)  # of the load that came, half is still there when it goes
    assert (hosted.load_ms, hosted.evidence) == (0.0, 29.0)
    assert local.ttft_sigma < hosted.log_sigma


def test_who_waits_for_a_slot_says_nothing_of_the_speed() -> None:
    """The wait is learnt apart: at first it is as long as a whole answer; the engine is as fast as before, under all of its names."""
    board, other = Board(), replace(LOCAL, backend="local/other@1")
    tickets = [board.begin(LOCAL.backend, None, 1.0, errand=Errand("local", 10.0, True, LOCAL.backend, 1))]
    board.learn("r", LOCAL, seen(ttft_ms=50.0, total_ms=250.0), 1.0)
    blocked = board.live("r", other, True, 4, 1.0)
    assert (blocked.blocked_ms, blocked.ttft_ms) == (250.0, 50.0)
    assert board.live("r", LOCAL, True, 4, 1.0).blocked_ms == 0.0
    tickets.append(board.begin(other.backend, None, 1.0, errand=Errand("local", 10.0, True, other.backend, 1)))
    board.learn("r", other, seen(ttft_ms=950.0, total_ms=1250.0, place=tickets[1].place), 2.0)
    third = replace(LOCAL, backend="local/third@1")
    assert board.live("r", third, True, 4, 2.0).blocked_ms == 900.0
    assert board.live("r", third, True, 4, 2.0).ttft_ms == 50.0
    for name, ticket in zip((LOCAL.backend, other.backend), tickets, strict=True):
        board.end(name, None, ticket)
    assert board.live("r", third, True, 4, 2.0).blocked_ms == 0.0
