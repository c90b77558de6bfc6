"""serving.counters: vLLM's counters by every name they had, and their growth by minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.counters import LONGEST_GAP_S, Counters, Grown, Sampler, read

NEW = """# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="a {b} c"} 1200.0
vllm:prompt_tokens_total{engine="1",model_name="a {b} c"} 300.0
vllm:prompt_tokens_created{engine="0",model_name="a {b} c"} 1.7e+09
vllm:prompt_tokens_cached_total{engine="0",model_name="a {b} c"} 100.0
vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 999.0
vllm:prefix_cache_hits_total{engine="0",model_name="a {b} c"} 77.0
vllm:generation_tokens_total{engine="0",model_name="a {b} c"} 4.5e+01
vllm:num_requests_running{engine="0",model_name="a {b} c"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a {b} c"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:request_inference_time_seconds_sum{engine="0",model_name="a {b} c"} 3.5
"""


def test_todays_names() -> None:
    """Ranks are added up, look-alikes are left alone, and labels may hold anything."""
    assert read(NEW) == Counters(1500, 100, 45, 2, 1, 3.5)


def test_earlier_names() -> None:
    """Before the prompts' own counter cached tokens were the prefix cache's, by two names; the oldest had none."""
    old = "vllm:prompt_tokens_total 9\nvllm:generation_tokens_total 3 1700000000\n"
    assert read(old) == Counters(9, 0, 3, 0, 0)
    assert read(old + "vllm:gpu_prefix_cache_hits_total 4\n") == Counters(9, 4, 3, 0, 0)
    assert read(old + "vllm:prefix_cache_hits_total 4\nvllm:external_prefix_cache_hits_total 1\n") == Counters(9, 5, 3, 0, 0)


def test_a_page_of_something_else() -> None:
    """No counters are not zeros; a value that is no number is none."""
    assert read("") is None
    assert read("process_cpu_seconds_total 4\nvllm:prompt_tokens_total 4\n") is None
    assert read('vllm:prompt_tokens_total NaN\nvllm:generation_tokens_total{x="y"}\nvllm:num_requests_running -1\n') == Counters(0, 0, 0, 0, 0)


def counters(prompt: int, generated: int = 0, running: int = 0, inference_s: float | None = None, cached: int = 0) -> Counters:
    return Counters(prompt, cached, generated, running, 0, inference_s)


def test_growth_is_cut_at_the_full_minute() -> None:
    """Ten seconds, a quarter of them before the minute was over: a quarter of the work there, to the token."""
    sampler = Sampler()
    assert sampler.seen("local", 0, "u", 57.5, counters(100)) == []
    first, second = sampler.seen("local", 0, "u", 67.5, counters(201, 10, running=2))
    assert first == Grown("local", 0, 0, 2500, 1250, 25, 0, 3, 2, 0)
    assert second == Grown("local", 0, 1, 7500, 3750, 76, 0, 7, 2, 0)


def test_a_server_that_began_anew_counts_from_zero() -> None:
    """Another address, or counters that fell; another replica is another count."""
    sampler = Sampler()
    sampler.seen("local", 0, "u", 10.0, counters(100, 10))
    sampler.seen("local", 1, "u", 10.0, counters(5))
    assert sampler.seen("local", 0, "u", 15.0, counters(3, 12))[0].prompt == 3
    assert sampler.seen("local", 0, "v", 20.0, counters(300, 12))[0].prompt == 300
    assert sampler.seen("local", 1, "u", 20.0, counters(6))[0].prompt == 1
    sampler.forget([("local", 1)])
    assert sampler.seen("local", 0, "v", 25.0, counters(301, 12)) == []


def test_after_a_long_gap_and_a_clock_that_was_set() -> None:
    """Work that may have been any time ago is in no minute; a clock set back puts it where it is now, with no time watched."""
    sampler = Sampler()
    sampler.seen("local", 0, "u", 100.0, counters(1))
    assert sampler.seen("local", 0, "u", 101.0 + LONGEST_GAP_S, counters(50)) == []
    assert sampler.seen("local", 0, "u", 40.0, counters(60)) == [Grown("local", 0, 0, 0, 0, 10, 0, 0, 0, 0)]
    assert sampler.seen("local", 0, "u", 45.0, counters(61))[0].milliseconds == 5000


def test_how_busy_it_was() -> None:
    """By what ran at both ends; a burst that was over by both looks by the time its requests took; without either nothing is claimed."""
    sampler = Sampler()
    sampler.seen("local", 0, "u", 10.0, counters(0, running=1, inference_s=0.0))
    assert sampler.seen("local", 0, "u", 20.0, counters(0, running=3, inference_s=0.0))[0].busy_ms == 10_000
    assert sampler.seen("local", 0, "u", 30.0, counters(0, inference_s=0.0))[0].busy_ms == 5_000
    assert sampler.seen("local", 0, "u", 40.0, counters(9, inference_s=2.0))[0].busy_ms == 2_000
    assert sampler.seen("local", 0, "u", 50.0, counters(19, inference_s=99.0))[0].busy_ms == 10_000
    assert sampler.seen("local", 0, "u", 55.0, counters(19, inference_s=100.0))[0].busy_ms == 0
    assert sampler.seen("local", 0, "u", 56.0, counters(29))[0].busy_ms == 0


@given(st.lists(st.tuples(st.floats(0.1, 60), st.integers(0, 10**6)), min_size=1, max_size=20))
def test_no_token_is_lost_or_made(looks: list[tuple[float, int]]) -> None:
    """However the looks fall, the parts sum to what the counters grew, and no minute is watched for longer than it lasts."""
    sampler, at, total, grown = Sampler(), 1000.0, 0, []
    sampler.seen("local", 0, "u", at, counters(0))
    for pause, more in looks:
        at, total = at + pause, total + more
        grown += sampler.seen("local", 0, "u", at, counters(total))
    assert sum(one.prompt for one in grown) == total
    watched: dict[int, int] = {}
    for one in grown:
        watched[one.minute] = watched.get(one.minute, 0) + one.milliseconds
    assert all(ms <= 60_000 + len(looks) for ms in watched.values())
