"""Directories that appear only when complete: written beside their place, digested, their manifest last, then renamed.

Public: `sha256_file`, `sha256_json`, `writing(target)` (context manager), `read(directory, name)`, `write_json`.
Used for datasets, adapters and reports. Not here: what the manifests say.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router.errors import DataError, StateError


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """Hex digest of a value's canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write readable JSON in one rename, so that a reader or a crash never sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read(directory: Path, name: str = "manifest.json") -> dict[str, Any]:
    """The manifest of a finished directory. Raises DataError where it is missing (then the directory is not complete) or damaged."""
    path = directory / name
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{directory} has no {name}: it was not finished, or is something else; build it again") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise DataError(f"{path} is not a JSON object; build the directory again")
    return manifest


def verify(directory: Path, files: Mapping[str, str]) -> None:
    """Compare each named file's sha256 with what the manifest says. Raises DataError naming all that differ."""
    wrong = [name for name, digest in files.items() if not (directory / name).is_file() or sha256_file(directory / name) != digest]
    if wrong:
        raise DataError(f"{directory}: {', '.join(wrong)} changed after the manifest was written; build it again or restore it")


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A new directory to fill; it gets the name `target` when the block ends well and vanishes when it does not.

    Raises StateError where `target` exists already and is not an empty directory: nothing finished is ever written over.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StateError(f"{target} exists already; name another place, or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed run left behind
    partial.mkdir()
    try:
        yield partial
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
