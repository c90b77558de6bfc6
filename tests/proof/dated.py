"""Dated lines of proofs. `make proof` names the page they are appended to; without one they are only printed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path


def note(text: str) -> str:
    """Add one line, with the date, to the page in BREAKEVEN_PAGE."""
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `make proof`: {text}"
    print(line)
    if page := os.environ.get("BREAKEVEN_PAGE"):
        with Path(page).open("a") as file:
            file.write(f"\n{line}\n")
    return line
