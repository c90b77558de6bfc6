"""The admin API's own description."""

from __future__ import annotations

import re

import httpx

from gateway.admin.docs import render


def test_every_admin_endpoint_of_the_design_is_described(ask: httpx.Client) -> None:
    """openapi.json has them, with a sentence each."""
    described = ask.get("/admin/openapi.json").json()
    wanted = {"/admin/routes", "/admin/routes/{route}/explain", "/admin/reload", "/admin/adapters", "/admin/exchanges", "/admin/costs", "/admin/keys"}
    wanted |= {"/admin/keys/{key_id}", "/admin/decisions/{decision_id}", "/admin/decisions/{decision_id}/replay"}
    assert wanted <= set(described["paths"])
    assert all(path.startswith("/admin/") for path in described["paths"])
    assert all(operation["description"] for methods in described["paths"].values() for operation in methods.values())


def test_the_page_works_alone(ask: httpx.Client) -> None:
    """No script, nothing from elsewhere, every link inside it leads somewhere."""
    answer = ask.get("/admin/docs")
    assert "script" not in answer.headers["content-security-policy"].replace("default-src 'none'", "")
    assert "<script" not in answer.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    ids = set(re.findall(r'id="([^"]+)"', answer.text))
    assert set(re.findall(r'href="#([^"]+)"', answer.text)) <= ids
    for link in set(re.findall(r'(?:href|src)="(/[^"]+)"', answer.text)):
        assert ask.get(link).status_code == 200


def test_descriptions_are_escaped() -> None:
    """What a description says is text, whatever is in it."""
    operation = {"tags": ["<b>"], "description": "<script>", "parameters": [{"name": "<i>", "in": "query"}], "responses": {"200": {}}}
    shapes = {"X": {"description": "<u>", "properties": {"a": {"enum": ["<q>"]}, "b": {"const": 1}, "c": {"type": "array", "items": {"type": "string"}}}}}
    page = render({"info": {"description": "<em>"}, "paths": {"/x": {"get": operation}}, "components": {"schemas": shapes}})
    assert not re.findall(r"<(?:script|i|u|q|em|b)>", page)
