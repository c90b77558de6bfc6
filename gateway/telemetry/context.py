"""W3C trace context without a library: reading a `traceparent`, and the ids of our own spans. Pure.

Ids follow from the request's id, so the worker that forwards a `traceparent` and the controller that sends the span later agree without a word, and a row
that is read twice gives the same span.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_HEADER = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LENGTH = 55
_OWN_ID = re.compile(r"req_([0-9a-f]{32})")
_SAMPLED = 1


def read(header: bytes | None) -> str | None:
    """A caller's `traceparent` as it is kept (version 00); None where there is none or it is not valid and must be ignored."""
    found = _HEADER.fullmatch(header) if header is not None else None
    if found is None or header is None:
        return None
    version, trace, parent = found.group(1), found.group(2), found.group(3)
    if version == b"ff" or (version == b"00" and len(header) != _LENGTH) or not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    return f"00-{header[3:_LENGTH].decode()}"


def trace_id(request_id: str, trace: str | None) -> str:
    """The caller's trace, or one of our own: 32 hexadecimal digits."""
    if trace is not None:
        return trace[3:35]
    own = _OWN_ID.fullmatch(request_id)
    return own.group(1) if own is not None else blake2b(request_id.encode(), digest_size=16).hexdigest()


def parent_id(trace: str | None) -> str | None:
    """The caller's span; None where a trace begins here."""
    return None if trace is None else trace[36:52]


def span_id(request_id: str) -> str:
    """The span of a whole exchange: 16 hexadecimal digits."""
    return blake2b(request_id.encode(), digest_size=8).hexdigest()


def attempt_span_id(request_id: str, backend: str, started: float) -> str:
    """The span of one call. `started` is the attempt's, epoch seconds."""
    return blake2b(f"{request_id} {backend} {started!r}".encode(), digest_size=8).hexdigest()


def sampled(request_id: str, trace: str | None, share: float) -> bool:
    """Whether a trace is sent: as its caller decided, else a share of all, by the id."""
    if trace is not None:
        return bool(int(trace[53:55], 16) & _SAMPLED)
    return int(trace_id(request_id, None)[16:], 16) < share * 2**64


def forwarded(request_id: str, trace: str | None, attempt: tuple[str, float], share: float) -> str:
    """The `traceparent` for the upstream of one call (its backend and when it started): what happens there belongs below our span."""
    flags = "01" if sampled(request_id, trace, share) else "00"
    return f"00-{trace_id(request_id, trace)}-{attempt_span_id(request_id, *attempt)}-{flags}"
