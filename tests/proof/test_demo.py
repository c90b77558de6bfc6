"""The demo, whole, with LoRA and with QLoRA: what `make demo` promises, on this machine. Minutes each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_the_loop_pays(quantization: str, tmp_path: Path) -> None:
    """At least 1,000 requests, none failed, one ledger row each; the gate admits; more than half of the second half local; cost per request at most half."""
    command = [sys.executable, str(ROOT / "deploy" / "demo" / "run.py"), "--dir", str(tmp_path / "run"), "--quantization", quantization]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "demo-summary.json").read_text())
    assert found["requests"] >= 1000
    assert found["failed"] == 0
    assert found["ledger_rows"] == found["requests"]
    assert found["gate"]["passed"]
    assert found["local_share_after"] > 0.5
    assert found["usd_per_request_after"] <= found["usd_per_request_before"] / 2
    assert found["usd_per_request_after_opportunity"] <= found["usd_per_request_before"] / 2
    assert found["sandbox"]
