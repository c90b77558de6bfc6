"""`breakeven jobs` and `breakeven train --job`: for operators, without a running gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.store import fine_tuning
from gateway.store.fine_tuning import Job
from serving.database import connect, writing
from tests.commands import Run, runner
from tests.databases import prepare
from tests.gateway.live_gateway import config_of


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command beside a configuration."""
    config_of(tmp_path, {})
    return runner(tmp_path, monkeypatch, capsys)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """One queued job of some key."""
    made = connect("sqlite:///breakeven.db", tmp_path)
    prepare(made)
    with writing(made) as conn:
        fine_tuning.add(conn, Job("ftjob-bk-1", "key_1", 1.0, "gpt-4o-mini", "local", "ft-x-1", "file-bk-1", 5))
        fine_tuning.say(conn, "ftjob-bk-1", "Created fine-tuning job: ftjob-bk-1", 1.0)
        fine_tuning.say(conn, "ftjob-bk-1", "line 3: not JSON", 2.0, "warn")
    yield made
    made.dispose()


def test_list_show_and_cancel(command: Run, database: Engine) -> None:
    """Whoever's they are; history oldest first; a cancel ends it at once, a second one changes nothing."""
    code, found, _ = command("jobs", "list", "--json")
    assert (code, [(job["id"], job["status"], job["total"]) for job in found["data"]]) == (0, [("ftjob-bk-1", "validating_files", 0)])
    assert "ftjob-bk-1" in command("jobs", "list")[1]
    code, found, _ = command("jobs", "show", "ftjob-bk-1", "--json")
    assert [event["message"] for event in found["events"]] == ["Created fine-tuning job: ftjob-bk-1", "line 3: not JSON"]
    assert "warn  line 3: not JSON" in command("jobs", "show", "ftjob-bk-1")[1]
    for _ in range(2):
        code, found, _ = command("jobs", "cancel", "ftjob-bk-1", "--json")
        assert (code, found["status"]) == (0, "cancelled")


def test_what_is_not_there(command: Run, database: Engine) -> None:
    """An unknown job is exit code 1; neither recipe nor job, or both, is a wrong use."""
    for words in (("jobs", "show", "ftjob-bk-9"), ("jobs", "cancel", "ftjob-bk-9"), ("train", "--job", "ftjob-bk-9")):
        code, found, _ = command(*words, "--json")
        assert code == 1
        assert "ftjob-bk-9" in found["error"]["message"]
    assert command("train", "--json")[0] == 2
    assert command("train", "recipe.yaml", "--job", "ftjob-bk-1", "--json")[0] == 2
