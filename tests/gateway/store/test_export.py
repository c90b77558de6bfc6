"""The ledger as files."""

from __future__ import annotations

import builtins
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.store import exchanges, export
from gateway.store.period import ALWAYS, Period
from router.errors import ConfigError
from router.types import Usage
from serving.database import writing

Make = Callable[..., Any]


def test_every_row_of_the_period_is_there_once(database: Engine, tmp_path: Path, exchange: Make, attempt: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across pages, also among rows of one instant; attempts in a file beside, each with its own cost; unknown is empty and never 0."""
    monkeypatch.setattr(export, "PAGE", 7)
    failed = attempt(status=502, error="upstream_cut", usage=Usage(), usage_state="unknown", cost_nanousd=None)
    with writing(database) as conn:
        exchanges.insert(conn, [exchange(f"r{n:02d}", time=1000.0 + n // 5) for n in range(40)])
        exchanges.insert(conn, [exchange("two", time=1002.0, attempts=(failed, attempt()), cost_nanousd=None), exchange("late", time=2000.0)])
    written = export.export(database, Period(1001.0, 2000.0), "csv", tmp_path / "out.csv")
    assert (written.exchanges, written.attempts, written.attempts_file) == (36, 37, tmp_path / "out.attempts.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == sorted(
        [f"r{n:02d}" for n in range(5, 40)] + ["two"], key=lambda name: (1002.0, "two") if name == "two" else (1000.0 + int(name[1:]) // 5, name)
    )
    two = next(row for row in rows if row["id"] == "two")
    assert (two["cost_nanousd"], json.loads(two["tags"])) == ("", {"team": "support"})
    calls = [row for row in csv.DictReader(written.attempts_file.read_text().splitlines()) if row["exchange_id"] == "two"]
    assert [(call["position"], call["cost_nanousd"], call["error"]) for call in calls] == [("0", "", "upstream_cut"), ("1", "45000", "")]


def test_parquet_has_the_same(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """Typed columns: integers stay integers, unknown is null; an empty period has the columns all the same."""
    parquet = pytest.importorskip("pyarrow.parquet")
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", cost_nanousd=2**53 + 1), exchange("b", cost_nanousd=None, ttft_ms=None)])
    export.export(sqlite, ALWAYS, "parquet", tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert (table["id"], table["cost_nanousd"], table["ttft_ms"], table["sandbox"]) == (["a", "b"], [2**53 + 1, None], [150.5, None], [False, False])
    export.export(sqlite, Period(5.0, 6.0), "parquet", tmp_path / "none.parquet")
    assert parquet.read_table(tmp_path / "none.attempts.parquet").num_rows == 0


def test_without_pyarrow_it_says_what_to_install(sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet is an extra; a file that cannot be written is named."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("pyarrow")]:
        monkeypatch.delitem(sys.modules, name)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(ConfigError, match=r"breakeven\[parquet\]"):
            export.export(sqlite, ALWAYS, "parquet", tmp_path / "out.parquet")
    with pytest.raises(ConfigError, match="nowhere"):
        export.export(sqlite, ALWAYS, "csv", tmp_path / "nowhere" / "out.csv")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes both files and says how many rows; a time that is none is refused."""
    from typer.testing import CliRunner

    from gateway.commands.costs import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "breakeven.yaml").write_text("server: {data_dir: data}\n")
    done = CliRunner().invoke(app, ["--out", "all.csv", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"exchanges": 0, "attempts": 0, "exchanges_file": "all.csv", "attempts_file": "all.attempts.csv"}
    assert (tmp_path / "all.attempts.csv").read_text().startswith("exchange_id,position,backend")
    assert isinstance(CliRunner().invoke(app, ["--out", "all.csv", "--since", "yesterday"]).exception, ConfigError)
