"""Requests drawn from the admin API's own description: never a 5xx, never a hang, and answers of the shape it promises. Longer in `make proof`."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.gateway.admin.world import World

# Of each operation.
EXAMPLES = int(os.environ.get("BREAKEVEN_EXAMPLES", "4"))
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES < 10,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_whatever_the_description_allows(fresh: World) -> None:
    """Each operation, with what its description allows; most answers are refusals, but not all."""
    schema = schemathesis.openapi.from_dict(httpx.get(f"{fresh.url}/admin/openapi.json", timeout=60).json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 15
    statuses = Counter[int]()

    for operation in operations:

        @QUICK
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            answer = case.call(base_url=fresh.url, timeout=60, allow_redirects=False)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}

        ask()
    assert statuses[200] > len(operations) // 3


def test_bodies_that_no_description_allows(fresh: World) -> None:
    """Each operation that takes a body refuses these in words."""
    described = httpx.get(f"{fresh.url}/admin/openapi.json", timeout=60).json()
    paths = [path for path, methods in described["paths"].items() if "requestBody" in methods.get("post", {})]
    assert len(paths) > 3
    with httpx.Client(base_url=fresh.url, timeout=60) as client:
        for path, body in itertools.product(paths, (b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'{"name": "\\ud800"}', b'{"name": 1e999}')):
            answer = client.post(path.replace("{", "x-").replace("}", ""), content=body, headers={"content-type": "application/json"})
            assert 400 <= answer.status_code < 500, (path, body[:30], answer.status_code, answer.text)
            assert isinstance(answer.json()["error"]["message"], str)
