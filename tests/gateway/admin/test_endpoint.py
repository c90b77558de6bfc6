"""What every admin endpoint shares."""

from __future__ import annotations

import httpx
import pytest

from tests.gateway.admin.world import World

WRONG = [
    ("GET", "/admin/exchanges?limit=0", None, "limit"),
    ("GET", "/admin/exchanges?since=yesterday", None, "since"),
    ("GET", "/admin/exchanges?cursor=nonsense", None, "cursor"),
    ("GET", "/admin/costs?group_by=colour", None, "group_by"),
    ("GET", "/admin/costs?since=2026-11-24&until=2026-11-22", None, "since"),
    ("GET", "/admin/gpu?step=week", None, "step"),
    ("POST", "/admin/keys", {"name": "x", "colour": "red"}, "colour"),
    ("POST", "/admin/keys", {}, "name"),
    ("POST", "/admin/routes/support-triage/explain", [], "body"),
]


@pytest.mark.parametrize(("method", "path", "body", "param"), WRONG)
def test_malformed_requests_name_the_field(ask: httpx.Client, method: str, path: str, body: object, param: str) -> None:
    """400 with the four fields of an error; `param` is what to change."""
    answer = ask.request(method, path, json=body)
    error = answer.json()["error"]
    assert [answer.status_code, error["param"]] == [400, param]
    assert set(error) == {"message", "type", "param", "code"}


def test_unknown_paths_and_methods_have_the_shape_too(fresh: World) -> None:
    """404 and 405 outside any endpoint."""
    assert httpx.get(f"{fresh.url}/admin/nothing").json()["error"]["code"] == "unknown_url"
    assert httpx.post(f"{fresh.url}/admin/costs").json()["error"]["code"] == "method_not_supported"
