"""Commands in this process, in a directory with a configuration of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Run, runner

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
    """Runs `breakeven WORDS` in a directory with that configuration."""
    (tmp_path / "breakeven.yaml").write_text(CONFIG)
    return runner(tmp_path, monkeypatch, capsys)
