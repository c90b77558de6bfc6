"""Keys over HTTP."""

from __future__ import annotations

import httpx
import pytest

from tests.gateway.admin.world import World


def test_a_key_is_shown_once_works_at_once_and_ends_at_once(locked: World) -> None:
    """Made, listed without its secret, used, revoked, refused."""
    admin = {"authorization": "Bearer admin-key-for-tests"}
    spec = {"name": "triage bot", "routes": ["support-triage"], "rpm": 60, "usd_per_day": "1.50", "expires_at": "2027-01-01T00:00:00+01:00"}
    made = httpx.post(f"{locked.url}/admin/keys", json=spec, headers=admin)
    assert made.status_code == 201
    key = made.json()
    assert {"id", "name", "key", "prefix", "created_at"} <= set(key)
    assert [key["per_day_nanousd"], key["per_day_usd"], key["expires_at"]] == [1_500_000_000, "1.5", "2026-12-31T23:00:00.000Z"]
    listed = httpx.get(f"{locked.url}/admin/keys", headers=admin)
    assert key["key"] not in listed.text
    assert listed.json()["data"][0]["prefix"] == key["key"][: len(key["prefix"])]
    client = {"authorization": f"Bearer {key['key']}"}
    assert httpx.get(f"{locked.url}/v1/models", headers=client).status_code == 200
    for _ in range(2):
        gone = httpx.delete(f"{locked.url}/admin/keys/{key['id']}", headers=admin)
        assert gone.json() == {"id": key["id"], "object": "key", "deleted": True}
    assert httpx.get(f"{locked.url}/v1/models", headers=client).status_code == 401
    assert httpx.get(f"{locked.url}/admin/keys", headers=admin).json()["data"][0]["usable"] is False


@pytest.mark.parametrize(
    ("spec", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x", "rpm": 0}, "rpm"),
        ({"name": "x", "usd_per_day": "lots"}, "usd_per_day"),
        ({"name": "x", "usd_per_day": -1}, "usd_per_day"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "routes": []}, "routes"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(fresh: World, spec: dict[str, object], param: str) -> None:
    """400 that names the field; nothing is made."""
    answer = httpx.post(f"{fresh.url}/admin/keys", json=spec)
    assert [answer.status_code, answer.json()["error"]["param"]] == [400, param]
    assert httpx.get(f"{fresh.url}/admin/keys").json()["data"] == []


def test_a_key_that_is_not_there(fresh: World) -> None:
    """404 with a code."""
    assert httpx.delete(f"{fresh.url}/admin/keys/key_nope").json()["error"]["code"] == "key_not_found"


def test_a_key_that_cannot_be_written_in_nanodollars(fresh: World) -> None:
    """Finer than a nano-dollar is a problem, not a rounding."""
    assert httpx.post(f"{fresh.url}/admin/keys", json={"name": "x", "usd_per_day": "0.0000000001"}).status_code == 400
    assert httpx.post(f"{fresh.url}/admin/keys", json={"name": "x", "usd_per_day": [1]}).status_code == 400
