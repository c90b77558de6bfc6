"""Fast tests in their long form: a provider that flaps for a minute, whatever the admin API's description allows, anything at all for the public routes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.proof


@pytest.mark.parametrize(
    ("test", "environ"),
    [
        ("tests/gateway/test_sixteen.py::test_15_flapping", {"BREAKEVEN_FLAPPING_S": "60"}),
        ("tests/gateway/admin/test_fuzz.py::test_whatever_the_description_allows", {"BREAKEVEN_EXAMPLES": "300"}),
        ("tests/gateway/test_anything.py", {"BREAKEVEN_EXAMPLES": "5000"}),
    ],
    ids=["flapping", "admin", "public"],
)
def test_the_long_form(test: str, environ: dict[str, str]) -> None:
    """It passes."""
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--timeout=0", "-p", "no:cacheprovider", test]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
