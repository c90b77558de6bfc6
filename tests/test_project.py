"""What must hold of the project as a whole: sizes, imports, documentation that cannot rot."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("router", "serving", "gateway", "training")
SOURCES = sorted([ROOT / "breakeven.py", *(p for room in ROOMS for p in (ROOT / room).rglob("*.py")), *(ROOT / "deploy").rglob("*.py")])
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def _functions(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text())
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(f"{path.relative_to(ROOT)}:{n.lineno} {n.name}", (n.end_lineno or n.lineno) - n.lineno + 1) for n in nodes]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    """No file is longer than 400 lines and no function longer than 60: tails are what makes code hard to read."""
    if "migrations/versions" in path.as_posix():
        return
    assert len(path.read_text().splitlines()) <= 400
    assert [f for f in _functions(path) if f[1] > 60] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_says_what_lives_in_it(path: Path) -> None:
    """Every source file with code begins with a docstring."""
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree)


def test_no_catch_all_files() -> None:
    """There is no utils.py, helpers.py or common.py: a file is named for the noun it holds."""
    assert [p for p in SOURCES if p.stem in {"utils", "helpers", "common", "misc", "util"}] == []


def test_the_gateway_imports_nothing_heavy() -> None:
    """`import gateway.app` loads none of torch, transformers, vllm, ray."""
    code = "import sys, gateway.app; print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'vllm', 'ray', 'peft', 'trl', 'numpy'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_architecture_page_names_every_file() -> None:
    """docs/architecture.md has one line for each source file, and none for a file that is gone."""
    page = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"^- `([\w/]+\.py)`", page, flags=re.MULTILINE))
    files = {str(p.relative_to(ROOT)) for p in SOURCES if p.stat().st_size and "versions" not in p.parts}
    assert sorted(files - named) == []
    assert sorted(named - files) == []


def test_documents_link_to_files_that_exist() -> None:
    """Relative links in Markdown files lead somewhere."""
    broken = []
    for name in TRACKED:
        if name.endswith(".md") and (ROOT / name).exists():
            targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
            broken += [f"{name}: {target}" for target in targets if not ((ROOT / name).parent / target).exists()]
    assert broken == []


def test_versions_agree() -> None:
    """pyproject, the package and the newest changelog heading name one version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## \[(Unreleased|{re.escape(version)})\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_nothing_private_is_tracked() -> None:
    """No home or work directory of a machine, and no credential, stands in a tracked text file."""
    found = []
    pattern = re.compile(r"/(?:home|work|root)/\w|sk-[A-Za-z0-9]{20,}")
    for name in TRACKED:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".html", ".js", ".css", ""} and path.is_file():
            text = path.read_text(errors="replace")
            found += [f"{name}: {m.group()}" for m in pattern.finditer(text) if name != "tests/test_project.py"]
    assert found == []
