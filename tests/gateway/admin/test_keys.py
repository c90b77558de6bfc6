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


def test_a_key_is_rotated_and_changed(locked: World) -> None:
    """The same id with another secret, both of which open for a while; limits change at once, null takes one away, what is left out stays."""
    admin = {"authorization": "Bearer admin-key-for-tests"}
    with httpx.Client(base_url=locked.url, headers=admin) as client:
        made = client.post("/admin/keys", json={"name": "x", "rpm": 60, "usd_per_month": 5, "endpoints": ["chat"], "tags": {"team": "a"}}).json()
        assert (made["endpoints"], made["per_month_usd"], made["tags"], made["last_used_at"]) == (["chat"], "5", {"team": "a"}, None)
        turned = client.post(f"/admin/keys/{made['id']}/rotate", json={"grace_s": 600})
        assert (turned.status_code, turned.json()["id"]) == (200, made["id"])
        assert turned.json()["key"] != made["key"]
        assert turned.json()["previous_until"] is not None
        for secret, status in ((made["key"], 200), (turned.json()["key"], 200)):
            assert httpx.get(f"{locked.url}/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code == status
        assert client.post(f"/admin/keys/{made['id']}/rotate", json={"grace_s": 0}).json()["previous_until"] is None
        for secret in (made["key"], turned.json()["key"]):
            assert httpx.get(f"{locked.url}/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code == 401
        changed = client.patch(f"/admin/keys/{made['id']}", json={"rpm": None, "usd_per_day": "2.5", "tags": None})
        assert changed.status_code == 200
        assert [changed.json()[name] for name in ("rpm", "per_day_usd", "per_month_usd", "endpoints", "tags", "name")] == [None, "2.5", "5", ["chat"], {}, "x"]
        for body, param in (({"rpm": 0}, "rpm"), ({"name": None}, "name"), ({"endpoints": ["chatt"]}, "endpoints"), ({"nope": 1}, "nope")):
            refused = client.patch(f"/admin/keys/{made['id']}", json=body)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
        assert client.patch("/admin/keys/key_nope", json={}).status_code == 404


def test_a_key_that_is_not_there(fresh: World) -> None:
    """404 with a code."""
    assert httpx.delete(f"{fresh.url}/admin/keys/key_nope").json()["error"]["code"] == "key_not_found"


def test_a_key_that_cannot_be_written_in_nanodollars(fresh: World) -> None:
    """Finer than a nano-dollar is a problem, not a rounding."""
    assert httpx.post(f"{fresh.url}/admin/keys", json={"name": "x", "usd_per_day": "0.0000000001"}).status_code == 400
    assert httpx.post(f"{fresh.url}/admin/keys", json={"name": "x", "usd_per_day": [1]}).status_code == 400
