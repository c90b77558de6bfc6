"""What each kind of value accepts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.config import values

ROOT = {"root": Path("/srv/conf")}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (values.Count, "3", 3),
        (values.Count, 1, 1),
        (values.Port, "0", 0),
        (values.Millis, "1500", 1500.0),
        (values.Millis, 0.5, 0.5),
        (values.Share, "1.0", 1.0),
        (values.Usd, 2.5, Decimal("2.5")),
        (values.Usd, "0.075", Decimal("0.075")),
        (values.Usd, 0.1, Decimal("0.1")),
        (values.Text, 4096, "4096"),
        (values.Text, 0.9, "0.9"),
        (values.Models, "*", "*"),
        (values.Models, ["a", "b"], ("a", "b")),
        (values.Origins, "*", "*"),
        (values.Origins, [], ()),
        (values.Origins, ["https://app.example.com", "http://localhost:3000", "*"], ("https://app.example.com", "http://localhost:3000", "*")),
        (values.Amount, 0, 0),
        (values.HttpUrl, "https://h:8443/v1/", "https://h:8443/v1"),
        (values.HttpUrl, "http://[::1]:8000", "http://[::1]:8000"),
        (values.Instant, "2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        (values.Instant, "2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        (values.Instant, "2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (values.Instant, datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)),
        (values.FilePath, "a/../b", Path("/srv/conf/b")),
        (values.FilePath, "/x", Path("/x")),
        (values.FilePath, "~/x", Path("~/x").expanduser()),
        (values.DatabaseUrl, "sqlite:///a.db", "sqlite:////srv/conf/a.db"),
        (values.DatabaseUrl, "sqlite:///a.db?timeout=5", "sqlite:////srv/conf/a.db?timeout=5"),
        (values.DatabaseUrl, "sqlite:////a.db", "sqlite:////a.db"),
        (values.DatabaseUrl, "sqlite:///:memory:", "sqlite:///:memory:"),
        (values.DatabaseUrl, "postgresql://h/n", "postgresql://h/n"),
        (values.ModelOrDirectory, "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
        (values.ModelOrDirectory, "./base", "/srv/conf/base"),
        (values.Command, "python3.12", "python3.12"),
        (values.Command, "env/bin/python", "/srv/conf/env/bin/python"),
    ],
)
def test_accepted(kind: Any, given: object, expected: object) -> None:
    """Text from variables is typed; paths are seen from the file's directory."""
    assert TypeAdapter(kind).validate_python(given, context=ROOT) == expected


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (values.Count, 0),
        (values.Count, True),
        (values.Count, 1.5),
        (values.Count, 1e40),
        (values.Port, 65536),
        (values.Port, -1),
        (values.Millis, 0),
        (values.Millis, float("inf")),
        (values.Millis, float("nan")),
        (values.Millis, True),
        (values.Share, 1.01),
        (values.Share, float("nan")),
        (values.OpenShare, 1),
        (values.Usd, -1),
        (values.Usd, "1.0000000001"),
        (values.Usd, float("inf")),
        (values.Usd, 1e12),
        (values.Usd, True),
        (values.Text, True),
        (values.Text, None),
        (values.Models, "gpt-4o"),
        (values.Models, [1]),
        (values.Models, [""]),
        (values.Origins, "https://app.example.com"),
        (values.Origins, ["https://app.example.com/"]),
        (values.Origins, ["https://App.example.com"]),
        (values.Origins, ["app.example.com"]),
        (values.Origins, [1]),
        (values.Amount, -1),
        (values.HttpUrl, "api.openai.com"),
        (values.HttpUrl, "ftp://h"),
        (values.HttpUrl, "https://"),
        (values.HttpUrl, "https://key@h/v1"),
        (values.HttpUrl, "https://h/v1?key=x"),
        (values.HttpUrl, "http://h:99999"),
        (values.HttpUrl, "http://[::1"),
        (values.Instant, "2026-02-30"),
        (values.Instant, "31.01.2026"),
        (values.Instant, "2026-01-31T12:00:00"),
        (values.Instant, 20260131),
    ],
)
def test_refused(kind: Any, given: object) -> None:
    """Out of range, wrong type, inexact, ambiguous."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(given, context=ROOT)


def test_a_url_is_not_repeated_in_its_problem() -> None:
    """It may hold a password."""
    for url in ("ftp://u:hunter2@h", "https://u:hunter2@h", "https://h?hunter2", "http://hunter2:x"):
        with pytest.raises(ValueError, match="must") as caught:
            values.http_url(url)
        assert "hunter2" not in str(caught.value)


def test_a_virtual_environments_python_is_not_followed(tmp_path: Path) -> None:
    """`bin/python` is a link; its target would run outside the environment."""
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    assert values.absolute("./link", tmp_path) == tmp_path / "link"


def test_a_directory_beside_the_file_wins_over_a_model_of_that_name(tmp_path: Path) -> None:
    """As vLLM itself does."""
    (tmp_path / "org" / "base").mkdir(parents=True)
    assert TypeAdapter(values.ModelOrDirectory).validate_python("org/base", context={"root": tmp_path}) == str(tmp_path / "org/base")


def test_without_a_root_paths_stay_as_written() -> None:
    """Models built in code keep what they were given."""
    assert TypeAdapter(values.FilePath).validate_python("a") == Path("a")
    assert TypeAdapter(values.DatabaseUrl).validate_python("sqlite:///a.db") == "sqlite:///a.db"
    assert TypeAdapter(values.Command).validate_python("a/b") == "a/b"
