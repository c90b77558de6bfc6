"""Commands in this process, in a directory with a configuration of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import breakeven

Run = Callable[..., tuple[int, Any, str]]
CONFIG = """\
providers:
  openai: {base_url: "http://127.0.0.1:9/v1", api_key: k, sandbox: true}
  mine: {kind: compatible, base_url: "http://127.0.0.1:9/v1"}
prices: []
routes:
  r: {candidates: [{provider: mine, model: m}, {provider: openai, model: gpt-4o-mini}]}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `breakeven WORDS`: exit code, stdout (parsed with --json), stderr."""
    (tmp_path / "breakeven.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    for name in ("BREAKEVEN_CONFIG", "BREAKEVEN_URL", "BREAKEVEN_ADMIN_KEY", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "COLUMNS"):
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
