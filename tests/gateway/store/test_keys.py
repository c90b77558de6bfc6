"""API keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.store import exchanges as store
from gateway.store import keys
from gateway.store.keys import Key, KeySpec
from router.errors import RequestError
from serving.database import reading, state_version, writing


def test_a_key_is_shown_once_and_kept_as_a_hash(sqlite: Engine, tmp_path: Path) -> None:
    """The secret has 256 random bits and is nowhere in the database file."""
    with writing(sqlite) as conn:
        key, secret = keys.create(conn, KeySpec("ci"), 100.0)
    assert re.fullmatch(r"bk-[A-Za-z0-9_-]{43}", secret)
    assert secret.startswith(key.prefix)
    assert len(key.prefix) == 10
    for path in tmp_path.glob("b.db*"):
        assert secret.encode() not in path.read_bytes()


def test_workers_find_a_key_by_the_hash_of_its_secret(database: Engine) -> None:
    """The snapshot holds every field; the state version moves when keys are made and revoked."""
    spec = KeySpec("ci", ("triage",), ("openai/*",), 60, 90_000, 4, 2_500_000_000, 500.0)
    with writing(database) as conn:
        key, secret = keys.create(conn, spec, 100.0)
    with reading(database) as conn:
        assert keys.snapshot(conn) == {keys.digest(secret): key}
        before = state_version(conn)
    assert key == Key(key.id, "ci", secret[:10], ("triage",), ("openai/*",), 60, 90_000, 4, 2_500_000_000, 500.0, 100.0, None)
    with writing(database) as conn:
        revoked = keys.revoke(conn, key.id, 200.0)
        assert keys.revoke(conn, key.id, 300.0) == revoked
    with reading(database) as conn:
        assert keys.snapshot(conn) == {}
        assert keys.listed(conn) == [revoked]
        assert state_version(conn) > before
    assert (revoked.revoked_at, revoked.usable(150.0)) == (200.0, False)


def test_a_key_without_limits_has_none(database: Engine) -> None:
    """What is left out is no limit, and comes back as None rather than as an empty list."""
    with writing(database) as conn:
        key, _ = keys.create(conn, KeySpec("open"), 1.0)
    assert (key.routes, key.models, key.rpm, key.nanousd_per_day, key.expires_at) == (None,) * 5


def test_a_key_expires(sqlite: Engine) -> None:
    """It opens until the instant it expires at."""
    with writing(sqlite) as conn:
        key, _ = keys.create(conn, KeySpec("short", expires_at=200.0), 100.0)
    assert (key.usable(199.9), key.usable(200.0)) == (True, False)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (KeySpec(" "), "name"),
        (KeySpec("a\nb"), "name"),
        (KeySpec("x" * 101), "name"),
        (KeySpec("a", rpm=0), "rpm"),
        (KeySpec("a", tpm=2**31), "tpm"),
        (KeySpec("a", concurrency=-1), "concurrency"),
        (KeySpec("a", nanousd_per_day=-1), "usd_per_day"),
        (KeySpec("a", nanousd_per_day=2**63), "usd_per_day"),
        (KeySpec("a", nanousd_per_month=-1), "usd_per_month"),
        (KeySpec("a", endpoints=("chat", "chats")), "endpoints"),
        (KeySpec("a", endpoints=()), "endpoints"),
        (KeySpec("a", tags={"": "x"}), "tags"),
        (KeySpec("a", tags={"a=b": "x"}), "tags"),
        (KeySpec("a", tags={"a": "x,y"}), "tags"),
        (KeySpec("a", tags={"a": "x" * 65}), "tags"),
        (KeySpec("a", tags={f"t{n}": "x" for n in range(17)}), "tags"),
        (KeySpec("a", expires_at=100.0), "expires_at"),
        (KeySpec("a", routes=()), "routes"),
        (KeySpec("a", models=("x", "")), "models"),
    ],
)
def test_a_wrong_field_is_named(sqlite: Engine, spec: KeySpec, field: str) -> None:
    """The refusal says which field to change, in words that contain it, and no key is made."""
    with pytest.raises(RequestError, match=f"`{field}`") as caught, writing(sqlite) as conn:
        keys.create(conn, spec, 100.0)
    assert (caught.value.status, caught.value.param) == (400, field)
    with reading(sqlite) as conn:
        assert keys.listed(conn) == []


def test_a_rotated_key_is_the_same_key(database: Engine) -> None:
    """Another secret under the same id and limits; the old one opens until its grace is over, the one before that nothing any more."""
    with writing(database) as conn:
        key, first = keys.create(conn, KeySpec("ci", rpm=5, expires_at=900.0), 100.0)
        before = state_version(conn)
        rotated, second = keys.rotate(conn, key.id, 50.0, 200.0)
        assert state_version(conn) > before
    assert (rotated.id, rotated.rpm, rotated.prefix, rotated.previous_until) == (key.id, 5, second[:10], 250.0)
    with reading(database) as conn:
        seen = keys.snapshot(conn)
    old, new = seen[keys.digest(first)], seen[keys.digest(second)]
    assert [old.id, new.id] == [key.id] * 2
    assert [each.usable(at) for each in (old, new) for at in (249.9, 250.0)] == [True, False, True, True]
    assert {each.id: each for each in seen.values()}[key.id] == new
    with writing(database) as conn:
        _, third = keys.rotate(conn, key.id, 0.0, 210.0)
        assert set(keys.snapshot(conn)) == {keys.digest(third)}
        for grace in (-1.0, 31 * 86_400.0, float("nan")):
            with pytest.raises(RequestError, match="grace_s"):
                keys.rotate(conn, key.id, grace, 220.0)


def test_limits_change_and_the_secret_stays(database: Engine) -> None:
    """Every field can change; what is wrong changes nothing; a revoked key stays as it was."""
    with writing(database) as conn:
        key, secret = keys.create(conn, KeySpec("ci", rpm=5, expires_at=900.0), 100.0)
        spec = KeySpec("cd", ("r",), ("m",), 1, 2, 3, 4, 900.0, ("chat", "pin"), 5, {"team": "search"})
        changed = keys.update(conn, key.id, spec, 1000.0)
        assert keys.spec_of(changed) == spec
        assert keys.snapshot(conn) == {keys.digest(secret): changed}
        with pytest.raises(RequestError, match="`rpm`"):
            keys.update(conn, key.id, KeySpec("cd", rpm=0), 1000.0)
        with pytest.raises(RequestError, match="`expires_at`"):
            keys.update(conn, key.id, KeySpec("cd", expires_at=950.0), 1000.0)
        assert keys.get(conn, key.id) == changed
        keys.revoke(conn, key.id, 1000.0)
        for act in (lambda: keys.update(conn, key.id, KeySpec("x"), 1.0), lambda: keys.rotate(conn, key.id, 1.0, 1.0)):
            with pytest.raises(RequestError, match="keys create") as caught:
                act()
            assert caught.value.status == 409
        with pytest.raises(RequestError, match="keys list"):
            keys.update(conn, "key_x", KeySpec("x"), 1.0)


def test_when_a_key_was_last_used_is_in_the_ledger(database: Engine) -> None:
    """The newest of its requests; nothing for a key that made none."""
    with writing(database) as conn:
        used, _ = keys.create(conn, KeySpec("used"), 1.0)
        keys.create(conn, KeySpec("idle"), 1.0)
        store.insert(conn, [store.interrupted(f"req_{at}", at, None, "chat", used.id) for at in (10.0, 30.0, 20.0)])
        assert keys.last_used(conn) == {used.id: 30.0}


def test_revoking_what_is_not_there_is_a_404(sqlite: Engine) -> None:
    """An unknown id is refused with the command that lists the known ones."""
    with pytest.raises(RequestError, match="breakeven keys list") as caught, writing(sqlite) as conn:
        keys.revoke(conn, "key_x", 1.0)
    assert caught.value.status == 404
