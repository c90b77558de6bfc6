"""`breakeven WORDS` in this process: what it printed and its exit code, for the tests of commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import breakeven

Run = Callable[..., tuple[int, Any, str]]
# What the surroundings of the tests must not decide.
_FOREIGN = ("BREAKEVEN_CONFIG", "BREAKEVEN_URL", "BREAKEVEN_ADMIN_KEY", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "COLUMNS")


def runner(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function of words that runs the command in `directory`: exit code, stdout (parsed with --json), stderr."""
    monkeypatch.chdir(directory)
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)

    def command(*words: str) -> tuple[int, Any, str]:
        monkeypatch.setattr("sys.argv", ["breakeven", *words])
        with pytest.raises(SystemExit) as ended:
            breakeven.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, json.loads(out) if "--json" in words else out, err

    return command
