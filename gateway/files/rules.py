"""What a file may be: purposes, sizes, how long it lives, what its first lines must look like. Pure; the words are OpenAI's where it has any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from router.errors import RequestError

PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
# Only the provider's own machinery can use these: they go to the default provider, where there is one.
PROVIDER_PURPOSES = frozenset({"assistants", "user_data", "vision", "evals"})
MADE_PURPOSES = ("batch_output", "fine-tune-results", "assistants_output")

MOST_FILE_BYTES = 512 * 1024 * 1024
MOST_UPLOAD_BYTES = 8 * 1024 * 1024 * 1024
MOST_PART_BYTES = 64 * 1024 * 1024
# As much of a file as is looked at before it is taken; the job that uses it checks all of it, and lists every problem at once.
HEAD_BYTES = 64 * 1024

_LINES = {"batch": "Batch", "fine-tune": "Fine-Tuning"}
_SHORTEST_S, _LONGEST_S = 3600, 2_592_000
_DEFAULT_S = {"batch": _LONGEST_S}
_MOST_NAME = 255
_MOST_PAIRS, _MOST_KEY, _MOST_VALUE = 16, 64, 512


def check_purpose(purpose: object) -> str:
    """The purpose, or RequestError 400 naming those there are."""
    if purpose is None:
        raise missing("purpose")
    if not isinstance(purpose, str) or purpose not in PURPOSES:
        raise RequestError(f"{str(purpose)[:100]!r} is not one of {list(PURPOSES)} - 'purpose'", param="purpose")
    return purpose


def check_name(purpose: str, filename: str) -> None:
    """RequestError 400 for a name whose ending says that it is not what the purpose needs."""
    if purpose in _LINES and not filename.lower().endswith(".jsonl"):
        raise RequestError(f"Invalid file format for {_LINES[purpose]} API. Must be .jsonl", param="file")


def check_size(size: int) -> None:
    """RequestError 400 for a file without content."""
    if size == 0:
        raise RequestError("The file is empty.", param="file", code="empty_file")


def check_head(purpose: str, head: bytes) -> None:
    """RequestError 400 for a fine-tuning file whose first lines (of HEAD_BYTES, whole ones only) are not JSON objects.

    Batch files are not judged here: their batch fails with every problem and its line.
    """
    if purpose != "fine-tune":
        return
    lines = head.split(b"\n")
    if len(head) >= HEAD_BYTES:
        lines.pop()  # it goes on
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix(b"\xef\xbb\xbf")
        if text and not _is_object(text):
            hint = text[:4].decode("utf-8", "replace")
            raise RequestError(
                f"Expected file to have JSONL format, where every line is a JSON dictionary. Line {number} is not a dictionary "
                f'(HINT: line starts with: "{hint}...").',
                param="file",
            )


def base_name(filename: str | None) -> str:
    """The last part of a name, as clients that send whole paths mean it."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2].strip()
    return "".join(letter if letter.isprintable() else "_" for letter in name)[:_MOST_NAME] or "upload"


def lifetime_s(purpose: str, asked: int | None) -> int | None:
    """Seconds a file lives: as asked, or thirty days for batch files and for ever for others."""
    return asked if asked is not None else _DEFAULT_S.get(purpose)


def expiry(after: object, name: str = "expires_after") -> int | None:
    """The seconds of an `{anchor, seconds}` object (numbers may be text, as forms have it). RequestError 400 for anything else."""
    if after is None:
        return None
    if not isinstance(after, Mapping):
        raise RequestError(f"Invalid type for '{name}': expected an object.", param=name, code="invalid_type")
    if after.get("anchor") != "created_at":
        raise RequestError(f"Invalid value for '{name}.anchor': it must be 'created_at'.", param=f"{name}.anchor", code="invalid_value")
    seconds = _whole(after.get("seconds"))
    if seconds is None or not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise RequestError(
            f"Invalid value for '{name}.seconds': it must be a whole number from {_SHORTEST_S} (1 hour) to {_LONGEST_S} (30 days).",
            param=f"{name}.seconds",
            code="invalid_value",
        )
    return seconds


def labels(value: object) -> dict[str, str] | None:
    """The `metadata` of a batch or a job. RequestError 400 for what it may not be."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise RequestError("Invalid type for 'metadata': expected an object of texts.", param="metadata", code="invalid_type")
    if len(value) > _MOST_PAIRS or any(len(name) > _MOST_KEY or len(text) > _MOST_VALUE for name, text in value.items()):
        raise RequestError(
            f"Invalid 'metadata': at most {_MOST_PAIRS} pairs, with keys of up to {_MOST_KEY} and values of up to {_MOST_VALUE} characters.",
            param="metadata",
            code="invalid_value",
        )
    return value


def missing(name: str) -> RequestError:
    """OpenAI's answer for a parameter that is not there."""
    return RequestError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
