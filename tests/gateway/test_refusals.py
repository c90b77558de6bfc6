"""What a client is told when no candidate may answer."""

from __future__ import annotations

import pytest

from gateway.config.models import CaptureConfig, TimeoutsConfig
from gateway.refusals import no_candidate
from gateway.view import Backend, RoutePlan
from router.errors import LimitError
from router.types import Candidate, Decision, Features, Live, Scored, Snapshot

NOW = 86_400.0 * 10 + 80_000.0


def refused(*drops: str, live: tuple[Live, ...] = (), features: Features | None = None) -> tuple[int, str, str, float | None]:
    names = [f"b{i}" for i in range(len(drops))]
    candidates = tuple(Candidate(name, "hosted", "o", "m", context_tokens=100) for name in names)
    snapshot = Snapshot("r", candidates)
    backends = {c.backend: Backend(c, (), {}, {}) for c in candidates}
    plan = RoutePlan("r", "r", snapshot, snapshot, backends, TimeoutsConfig(), CaptureConfig(), {})
    scored = tuple(Scored(name, False, drop) for name, drop in zip(names, drops, strict=True))
    asked = features or Features(prompt_bytes=4000)
    error = no_candidate(Decision("d", "r", (), None, scored, asked, live, "", NOW, 0, "v"), plan, NOW)
    return error.status, error.code, error.message, error.retry_after_s if isinstance(error, LimitError) else None


def test_everyone_asked_to_wait() -> None:
    """429 with the shortest of the waits."""
    live = (Live("b0", retry_at=NOW + 9), Live("b1", retry_at=NOW + 4))
    assert refused("retry_after", "retry_after", live=live)[::3] == (429, 4.0)


@pytest.mark.parametrize("drops", [("unhealthy",), ("circuit", "context"), ("retry_after", "capability:tools")])
def test_what_passes_is_a_503(drops: tuple[str, ...]) -> None:
    """Something of ours is down: try again shortly, each candidate's reason in the message."""
    status, code, message, wait = refused(*drops)
    assert (status, code, wait) == (503, "no_candidate", 1.0)
    assert all(drop in message for drop in drops)


def test_a_circuit_is_probed_sooner_than_a_wait_is_over() -> None:
    """One candidate asked for half a minute, the other's circuit is tried every second: come again then."""
    live = (Live("b0", retry_at=NOW + 30), Live("b1", breaker="open"))
    assert refused("retry_after", "circuit", live=live)[3] == 1.0
    assert refused("retry_after", "unhealthy", live=live)[3] == 30.0


def test_too_long() -> None:
    """OpenAI's words, with our estimate marked as one."""
    status, code, message, _ = refused("context", live=(Live("b0"),), features=Features(prompt_bytes=4000, max_tokens=50))
    assert (status, code) == (400, "context_length_exceeded")
    assert "maximum context length is 100 tokens" in message
    assert "about 1050 tokens (about 1000 in the messages, 50 in the completion)" in message
    assert "in the messages." in refused("context", live=(Live("b0"),))[2]


def test_not_supported() -> None:
    """What the request asks for is named."""
    status, code, message, _ = refused("capability:logit_bias", "no_live_version")
    assert (status, code) == (400, "unsupported_parameter")
    assert "logit_bias" in message


def test_nothing_may() -> None:
    """No live version, a closed gate, no candidate at all: 503 without a time to come back."""
    assert refused("no_live_version", "quality_gate:blocked")[:2] == (503, "no_candidate")
    assert refused()[3] is None
