"""What a client may ask of the gateway beside OpenAI's API: the `x-breakeven-*` request headers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

from router.errors import RequestError

_MAX_TAGS = 16
_MAX_TAG_CHARS = 64


@dataclass(frozen=True, slots=True)
class Wishes:
    """`pin` names one candidate, `slo_ms` the total latency aimed at, `tags` go into the ledger, `no_capture` keeps the texts out of training,
    `priority` says who goes first among the requests of one key when they have to wait."""

    pin: str | None = None
    slo_ms: float | None = None
    tags: dict[str, str] = field(default_factory=dict)
    no_capture: bool = False
    priority: Literal["high", "normal", "low"] | None = None


NONE = Wishes()


def read(headers: Iterable[tuple[bytes, bytes]]) -> Wishes:
    """The wishes in request headers (names in lower case). Raises RequestError whose message says what to write instead."""
    found = {name[len(b"x-breakeven-") :]: value.decode("latin-1").strip() for name, value in headers if name.startswith(b"x-breakeven-")}
    if not found:
        return NONE
    pin = found.get(b"pin")
    if pin == "":
        raise _wrong("pin", "name a candidate, such as openai/gpt-4o-mini or local/support-triage@3, or leave the header out")
    return Wishes(pin, _slo(found.get(b"slo-ms")), _tags(found.get(b"tags")), _flag(found.get(b"no-capture")), _priority(found.get(b"priority")))


def _slo(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 86_400_000.0:
        raise _wrong("slo-ms", f"write milliseconds above 0 and up to a day, such as 1500; got {text[:40]!r}")
    return value


def _tags(text: str | None) -> dict[str, str]:
    if not text:
        return {}
    tags: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise _wrong("tags", f"write k=v,k=v; got {pair.strip()[:40]!r}")
        if max(len(name), len(value)) > _MAX_TAG_CHARS:
            raise _wrong("tags", f"keep names and values within {_MAX_TAG_CHARS} characters; {name[:40]!r} is longer")
        if name in tags:
            raise _wrong("tags", f"name each tag once; {name!r} is there twice")
        tags[name] = value
    if len(tags) > _MAX_TAGS:
        raise _wrong("tags", f"send at most {_MAX_TAGS} tags; got {len(tags)}")
    return tags


def _priority(text: str | None) -> Literal["high", "normal", "low"] | None:
    if text is None or text in {"high", "normal", "low"}:
        return cast('Literal["high", "normal", "low"] | None', text)
    raise _wrong("priority", f"write high, normal or low; got {text[:40]!r}")


def _flag(text: str | None) -> bool:
    if text is None or text in {"0", "false"}:
        return False
    if text in {"1", "true"}:
        return True
    raise _wrong("no-capture", f"write 1, or leave the header out; got {text[:40]!r}")


def _wrong(name: str, what: str) -> RequestError:
    return RequestError(f"Invalid header x-breakeven-{name}: {what}.", param=f"x-breakeven-{name}", code="invalid_header")
