"""The ids of translated answers: told from every provider's by their first letters, so that no look-up is needed to know whose a conversation is."""

from __future__ import annotations

import secrets

# Providers' ids go on in hexadecimal digits, of which these are none.
_OURS = "resp_brkvn"


def new_id() -> str:
    """An id that nobody can guess."""
    return _OURS + secrets.token_hex(20)


def is_ours(response_id: str) -> bool:
    """Whether an answer was translated by a gateway of ours."""
    return response_id.startswith(_OURS)
