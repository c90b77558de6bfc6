"""Reloading the configuration."""

from __future__ import annotations

import httpx

from tests.gateway.admin.world import World


def test_a_valid_file_is_applied_whole(fresh: World) -> None:
    """A new route is there at once."""
    path = fresh.directory / "breakeven.yaml"
    path.write_text(path.read_text() + "  extra:\n    candidates:\n      - {provider: openai, model: gpt-4o-mini}\n")
    answer = httpx.post(f"{fresh.url}/admin/reload").json()
    assert "extra" in answer["routes"]
    assert answer["source"] == str(path)
    assert "extra" in [route["name"] for route in httpx.get(f"{fresh.url}/admin/routes").json()["data"]]


def test_a_broken_file_changes_nothing_and_every_problem_is_named(fresh: World) -> None:
    """422 with file and line of each; the routes are what they were."""
    path = fresh.directory / "breakeven.yaml"
    path.write_text(path.read_text().replace("gpu_hour_usd: 0.02", "gpu_hour_usd: cheap") + "  extra:\n    colour: red\n")
    answer = httpx.post(f"{fresh.url}/admin/reload")
    problems = answer.json()["error"]["problems"]
    assert answer.status_code == 422
    assert len(problems) >= 2
    assert all(problem["line"] for problem in problems)
    assert len(httpx.get(f"{fresh.url}/admin/routes").json()["data"]) == 3
