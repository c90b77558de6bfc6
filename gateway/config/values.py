"""The kinds of value a configuration holds (durations, shares, dollars, paths, URLs) and what each accepts. No sections, no files read.

A relative path becomes absolute against `context["root"]`, the configuration file's directory; without that context it stays as written.
Symbolic links are kept: a virtual environment's `bin/python` is one, and following it leaves the environment.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

SQLITE = "sqlite:///"


def absolute(path: str | Path, root: Path) -> Path:
    """`path` seen from `root`, with `~` expanded and `..` folded; symbolic links are not followed. A `~user` without a home stays as it is."""
    return Path(os.path.normpath(root / os.path.expanduser(path)))  # noqa: PTH111  Path.expanduser raises for a user without a home


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004  pydantic reports ValueError, and lets TypeError escape
    return value


def _text(value: object) -> object:
    """`args: [--max-model-len, 4096]` means the text 4096."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _root(info: ValidationInfo) -> Path | None:
    return info.context.get("root") if isinstance(info.context, Mapping) else None


def _seen_from_file(path: Path, info: ValidationInfo) -> Path:
    root = _root(info)
    return path if root is None else absolute(path, root)


def _database(url: str, info: ValidationInfo) -> str:
    root = _root(info)
    if root is None or not url.startswith(SQLITE) or url == SQLITE or url.startswith(SQLITE + ":memory:"):
        return url
    path, mark, query = url.removeprefix(SQLITE).partition("?")
    return f"{SQLITE}{absolute(path, root)}{mark}{query}"


def _model_or_directory(value: str, info: ValidationInfo) -> str:
    root = _root(info)
    if root is not None and (is_written_as_path(value) or absolute(value, root).is_dir()):
        return str(absolute(value, root))
    return value


def _program(value: str, info: ValidationInfo) -> str:
    root = _root(info)
    return str(absolute(value, root)) if root is not None and is_written_as_path(value, bare_slash=True) else value


def is_written_as_path(value: str, *, bare_slash: bool = False) -> bool:
    """Whether a value that may also be a name (a Hugging Face id, a command) is meant as a path."""
    return value.startswith(("/", "./", "../", "~")) or value in {".", ".."} or (bare_slash and "/" in value)


def _instant(value: object) -> datetime:
    """A date (midnight UTC) or an RFC 3339 time with its zone."""
    if isinstance(value, datetime):
        found: date = value
    elif isinstance(value, str):
        try:
            found = date.fromisoformat(value) if len(value) == len("2026-01-31") else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z") from None
    else:
        raise ValueError("must be a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z")  # noqa: TRY004  as above
    if not isinstance(found, datetime):
        return datetime.combine(found, time(), UTC)
    if found.tzinfo is None:
        raise ValueError("must name its time zone: add Z for UTC")
    return found.astimezone(UTC)


def _models(value: object) -> object:
    if value == "*":
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    raise ValueError('must be "*" (any model) or a list of model names')


def _after(value: object) -> object:
    """A delay in milliseconds, or the word for one that is learnt."""
    if value == "p95":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise ValueError('must be milliseconds greater than 0, or "p95": as long as 95 of 100 answers take')


def _origins(value: object) -> object:
    if value == "*":
        return value
    if not isinstance(value, list | tuple):
        raise ValueError('must be "*" (any origin) or a list such as [https://app.example.com]')  # noqa: TRY004  pydantic reports ValueError
    for origin in value:
        if origin == "*":
            continue
        parts = urlsplit(origin) if isinstance(origin, str) else None
        if parts is None or not parts.scheme or not parts.netloc or parts.path or parts.query or parts.fragment or origin != origin.strip().lower():
            raise ValueError(
                f"must hold origins as browsers send them, such as https://app.example.com (lower case, nothing after the host and port), not {origin!r}"
            )
    return tuple(value)


def http_url(value: str) -> str:
    """An http(s) URL without credentials, query or fragment; a trailing slash is dropped.

    Raises ValueError: the message says what to change and does not repeat the URL, which may hold a secret.
    """
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  raises when it is not a number below 65536
    except ValueError:
        raise ValueError("must be a URL such as https://api.openai.com/v1") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that begins with http:// or https://, such as https://api.openai.com/v1")
    if "@" in parts.netloc:
        raise ValueError("must not hold credentials: put the key in api_key")
    if parts.query or parts.fragment:
        raise ValueError("must end with its path: leave out what follows ? or #")
    return value.rstrip("/")


Whole = Annotated[int, BeforeValidator(_number)]
Amount = Annotated[int, BeforeValidator(_number), Field(ge=0)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=1)]
Port = Annotated[int, BeforeValidator(_number), Field(ge=0, le=65535)]
Millis = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Seconds = Millis
Rate = Millis
Hours = Annotated[float, BeforeValidator(_number), Field(ge=0, le=8760)]
Tolerance = Annotated[float, BeforeValidator(_number), Field(gt=0, le=1000)]
After = Annotated[float | Literal["p95"], BeforeValidator(_after)]
Days = Annotated[float, BeforeValidator(_number), Field(gt=0, le=36500, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
OpenShare = Annotated[float, BeforeValidator(_number), Field(gt=0, lt=1)]
Margin = Annotated[float, BeforeValidator(_number), Field(ge=-1, le=1)]
Usd = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=1_000_000_000, decimal_places=9)]
Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, Field(min_length=1)]
FilePath = Annotated[Path, AfterValidator(_seen_from_file)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
ModelOrDirectory = Annotated[str, Field(min_length=1), AfterValidator(_model_or_directory)]
Command = Annotated[str, Field(min_length=1), AfterValidator(_program)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
Origins = Annotated[tuple[str, ...] | str, BeforeValidator(_origins)]
Models = Annotated[tuple[str, ...] | str, BeforeValidator(_models)]
