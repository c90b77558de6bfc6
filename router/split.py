"""Stable splits: the same conversation always falls on the same side, and more per cent only ever adds conversations. Not here: who splits what."""

from __future__ import annotations

from hashlib import blake2b

_MASK = (1 << 64) - 1


def bucket(conversation: int, salt: str) -> float:
    """A number in [0, 100) that depends on both arguments alone; `bucket(...) < percent` puts that share of conversations in."""
    digest = blake2b((conversation & _MASK).to_bytes(8, "big") + salt.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * (100.0 / (1 << 53))


def mix(seed: int) -> int:
    """A well-spread 64-bit integer from any seed (the splitmix64 finaliser): neighbouring seeds give unrelated numbers."""
    z = (seed + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
