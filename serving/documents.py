"""JSON written by someone else, read so that it means one thing only: no key twice, no NaN, bounded in size and depth.

Readers differ about a key that is there twice (the first, the last, an error): what was checked here would not be what the engine reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# The largest of these files, a tokenizer with 250,000 words, has some 35 MB.
MOST_BYTES = 64 << 20


def read(path: Path, most: int = MOST_BYTES) -> Any:
    """The document in a file. Raises OSError, or ValueError that says what is wrong with it."""
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"it has {size} bytes, more than {most}")
    return parse(path.read_bytes())


def parse(text: bytes) -> Any:
    """The document in a text. Raises ValueError."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _number(word: str) -> Any:
    raise ValueError(f"{word} is not a number in JSON")
