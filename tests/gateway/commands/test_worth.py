"""`breakeven worth` as people and programs see it."""

from __future__ import annotations

from pathlib import Path

from tests.commands import Run


def test_not_yet_is_an_answer(run: Run) -> None:
    """Exit code 0; one document with --json, sentences without."""
    code, found, _ = run("worth", "r", "--json")
    assert (code, found["verdict"]) == (0, "not_yet")
    code, text, _ = run("worth", "r", "--tokens-per-day", "1e6")
    assert code == 0
    assert "next:" in text


def test_the_page_is_written(run: Run, tmp_path: Path) -> None:
    """--html names a file."""
    (tmp_path / "priced.yaml").write_text("routes: {r: {candidates: [{provider: openai, model: gpt-4o}]}}")
    code, text, _ = run("worth", "r", "-c", "priced.yaml", "--tokens-per-day", "1e9", "--assume", "gpu_hour_usd=1", "--html", "worth.html")
    assert (code, "break-even at" in text) == (0, True)
    assert (tmp_path / "worth.html").read_text().startswith("<!doctype html>")


def test_wrong_flags_are_exit_code_2(run: Run) -> None:
    """An unknown route, an unknown assumption, no traffic at all per day."""
    for words in (("nobody",), ("r", "--assume", "x=1"), ("r", "--tokens-per-day", "0")):
        assert run("worth", *words)[0] == 2
