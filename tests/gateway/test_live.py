"""The live numbers of a process: what is learnt from answers, and what a decision sees of it."""

from __future__ import annotations

import pytest

from gateway import live as live_module
from gateway.live import SUSPECT_S, Board, Observation, Ticket
from router.types import Candidate

HOSTED = Candidate("one/m", "hosted", "one", "m")
LOCAL = Candidate("local", "local", "local", "local")


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
