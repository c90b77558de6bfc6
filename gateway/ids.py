"""Ids of exchanges and decisions: nobody can guess them, and they begin with the time they were made.

The time is for the database: new rows go to the end of an index. Ids that are random from their first digit touch another page of it for each row, and
ingestion then slows down with every row there is.
"""

from __future__ import annotations

import secrets

_DIGITS = 12  # milliseconds, for some nine thousand years


def new_id(prefix: str, now: float, random_bytes: int) -> str:
    """`<prefix>_<milliseconds><random>`, both in hexadecimal; `now` in epoch seconds."""
    return f"{prefix}_{int(now * 1000) & 0xFFFFFFFFFFFF:0{_DIGITS}x}{secrets.token_hex(random_bytes)}"
