"""Grafana dashboards: what an import needs is in each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.monitoring.promql import DASHBOARDS, dashboard


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_it_can_be_imported(path: Path) -> None:
    """A uid, a title, a schema version, panels that are placed and have queries, and no data source of somebody's own."""
    board = dashboard(path)
    assert board["uid"].startswith("breakeven-")
    assert board["title"].startswith("Breakeven: ")
    assert isinstance(board["schemaVersion"], int)
    assert "id" not in board
    assert board["templating"]["list"][0]["name"] == "datasource"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 5
    cells = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        assert all(target["expr"] and target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        mine = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not mine & cells, f"{panel['title']} lies over another"
        cells |= mine


def test_there_are_four() -> None:
    """Cost, latency and SLO, router, engines and adapters; each with a uid of its own."""
    assert [path.stem for path in DASHBOARDS] == ["cost", "engines", "latency", "router"]
    assert len({dashboard(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS)
