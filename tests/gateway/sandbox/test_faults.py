"""When which request gets a fault."""

from __future__ import annotations

import pytest

from gateway.sandbox.faults import DESCRIPTIONS, Armed, Fault, FaultBook, FaultName, parse
from router.errors import RequestError


def book(*armed: Armed) -> FaultBook:
    made = FaultBook()
    for item in armed:
        made.arm(item)
    return made


def test_every_fault_is_described() -> None:
    """GET /sandbox/faults explains each by what the caller sees."""
    assert set(DESCRIPTIONS) == set(FaultName)


def test_an_armed_fault_hits_as_many_requests_as_it_says() -> None:
    """Two, then none; another model's requests do not use it up."""
    faults = book(Armed(Fault(FaultName.RESET), left=2, model="m"))
    hits = [faults.take(None, model, 0) for model in ("other", "m", "m", "m")]
    assert [hit and hit.name for hit in hits] == [None, "reset", "reset", None]
    assert faults.armed(0) == []


def test_a_timed_fault_ends_by_itself() -> None:
    """For ten seconds all, after that none."""
    faults = book(Armed(Fault(FaultName.STALL), left=None, until=10))
    assert faults.take(None, "m", 9.9) is not None
    assert faults.take(None, "m", 10) is None
    assert faults.armed(10) == []


def test_a_share_hits_evenly() -> None:
    """A quarter is every fourth request, exactly."""
    faults = book(Armed(Fault(FaultName.CUT), left=None, share=0.25))
    assert [faults.take(None, "m", 0) is not None for _ in range(8)] == [False, False, False, True] * 2


def test_a_flapping_provider_alternates() -> None:
    """Down, up, down, up."""
    faults = book(Armed(Fault(FaultName.FLAPPING), left=None, until=60))
    assert [(hit := faults.take(None, "m", 0)) and hit.name for _ in range(4)] == ["unavailable", None, "unavailable", None]


def test_the_header_comes_first_and_takes_settings() -> None:
    """A request can ask for its own fault whatever is armed."""
    faults = book(Armed(Fault(FaultName.RESET)))
    assert faults.take("cut; after=7;ms=5", "m", 0) == Fault(FaultName.CUT, ms=5, after=7)
    assert len(faults.armed(0)) == 1
    faults.clear()
    assert faults.armed(0) == []
    assert parse("rate_limit_retry_after;retry_after_s=2").retry_after_s == 2


@pytest.mark.parametrize("header", ["nonsense", "cut;after=many", "cut;when=now", "cut;after"])
def test_a_header_that_names_no_fault_is_refused(header: str) -> None:
    """A typing mistake must not pass as `no fault`."""
    with pytest.raises(RequestError):
        parse(header)
