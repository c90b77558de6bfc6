"""The `x-breakeven-*` request headers."""

from __future__ import annotations

import pytest

from gateway.wishes import NONE, Wishes, read
from router.errors import RequestError


def headers(**values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((b"x-breakeven-" + name.replace("_", "-").encode(), value.encode()) for name, value in values.items())]


def test_none_is_the_usual_case() -> None:
    """Without such headers nothing is made."""
    assert read([(b"host", b"x")]) is NONE


def test_all_of_them() -> None:
    """Values are trimmed; an empty tag value is a value."""
    got = read(headers(pin=" local/a@3 ", slo_ms="1500.5", tags="a=1, b=", no_capture="1", priority="low"))
    assert got == Wishes("local/a@3", 1500.5, {"a": "1", "b": ""}, True, "low")
    assert not read(headers(no_capture="0")).no_capture
    assert read(headers(tags="")).tags == {}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pin", "", "name a candidate"),
        ("slo_ms", "soon", "milliseconds"),
        ("slo_ms", "0", "above 0"),
        ("slo_ms", "nan", "above 0"),
        ("slo_ms", "1e99", "up to a day"),
        ("tags", "a", "k=v"),
        ("tags", "=1", "k=v"),
        ("tags", "a=1,a=2", "twice"),
        ("tags", "a=" + "x" * 65, "longer"),
        ("tags", ",".join(f"t{i}=1" for i in range(17)), "at most 16"),
        ("no_capture", "maybe", "write 1"),
        ("priority", "urgent", "high, normal or low"),
    ],
)
def test_what_to_write_instead(name: str, value: str, said: str) -> None:
    """Each error names the header and the remedy."""
    with pytest.raises(RequestError) as caught:
        read(headers(**{name: value}))
    assert caught.value.code == "invalid_header"
    assert said in caught.value.message
    assert name.replace("_", "-") in caught.value.message
