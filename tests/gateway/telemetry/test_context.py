"""W3C trace context, and the ids of our own spans."""

from __future__ import annotations

import re

import pytest

from gateway.telemetry import context

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OWN = f"req_{'ab' * 16}"


def test_a_valid_header_is_kept() -> None:
    """As it is; of a later version, what this one understands."""
    assert context.read(CALLER.encode()) == CALLER
    assert context.read(b"cc" + CALLER[2:].encode() + b"-what-the-future-brings") == CALLER
    assert context.read(None) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        CALLER.upper(),
        CALLER + "-more",
        "ff" + CALLER[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        CALLER[:-3],
        "\n" + CALLER,
    ],
)
def test_what_is_not_valid_is_ignored(header: str) -> None:
    """As the standard wants it: a new trace begins."""
    assert context.read(header.encode()) is None


def test_ids() -> None:
    """The caller's trace goes on; without one the request's id is the trace's."""
    assert context.trace_id(OWN, CALLER) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert context.parent_id(CALLER) == "00f067aa0ba902b7"
    assert context.trace_id(OWN, None) == "ab" * 16
    assert re.fullmatch("[0-9a-f]{32}", context.trace_id("a line of a batch", None))
    assert context.parent_id(None) is None
    spans = {context.span_id(OWN), context.attempt_span_id(OWN, "a/b", 1.5), context.attempt_span_id(OWN, "a/b", 1.75), context.attempt_span_id(OWN, "c", 1.5)}
    assert len(spans) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", span) for span in spans)


def test_sampling() -> None:
    """A caller's flag decides; of our own traces the share is kept, always the same ones."""
    assert context.sampled(OWN, CALLER, 0.0)
    assert not context.sampled(OWN, CALLER[:-1] + "0", 1.0)
    ids = [f"req_{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for n in range(1, 2001)]
    kept = [each for each in ids if context.sampled(each, None, 0.25)]
    assert 400 < len(kept) < 600
    assert [each for each in ids if context.sampled(each, None, 0.25)] == kept
    assert all(context.sampled(each, None, 1.0) for each in ids)
    assert not any(context.sampled(each, None, 0.0) for each in ids)


def test_what_is_forwarded() -> None:
    """The upstream's spans hang below the attempt's; whether they are kept is said too."""
    span = context.attempt_span_id(OWN, "one/m", 2.5)
    assert context.forwarded(OWN, CALLER, ("one/m", 2.5), 0.0) == f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-01"
    assert context.forwarded(OWN, None, ("one/m", 2.5), 0.0) == f"00-{'ab' * 16}-{span}-00"
