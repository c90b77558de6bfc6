"""Adapter directories on disk: where they may come from, the private copy that is checked, the immutable place it gets, and its removal.

Public: `locate(path, roots)`, `stage(source, data_dir, limits) -> Staged`, `publish`, `discard`, `remove`. Only top-level regular files are copied, pickles
never: training leftovers that are pickles are left behind, anything else that is one refuses the directory. Blocking: use `asyncio.to_thread`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from router.errors import AdapterRefused, Reason

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
# What trainers leave beside an adapter and nobody needs for serving: state to go on from, which is pickled, logs, programs. Neither opened nor copied.
LEFTOVERS = ("training_args.", "optimizer.", "scheduler.", "scaler.", "rng_state", "random_states", "trainer_state.", "trainer_log.", "tokens_state.")
LEFT_OUT = frozenset({".py", ".sh", ".so", ".log", ".png", ".svg", ".html"})
MOST_FILES = 200
MOST_BYTES = 5 << 30
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Staged:
    """A private copy. `digest` is the sha256 over the sorted names and sha256 of its files."""

    path: Path
    digest: str
    bytes: int


def locate(path: str, roots: Iterable[Path]) -> Path:
    """The real directory meant, symbolic links followed. Raises AdapterRefused when it is not a directory inside one of `roots`."""
    allowed = [root.resolve() for root in roots]
    try:
        real = Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused("not_found", f"{path} cannot be read: {error}", "name an adapter's directory on the gateway's machine") from error
    if not any(real.is_relative_to(root) for root in allowed):
        raise _refused("outside_roots", f"{path} is outside adapters.import_roots", "move it below one of the import roots, or add its place to them")
    if not real.is_dir():
        raise _refused("not_a_directory", f"{path} is not a directory", "name the directory that holds adapter_config.json")
    return real


def stage(source: Path, data_dir: Path, roots: Iterable[Path]) -> Staged:
    """Copy the directory's files to a private place: what is checked afterwards is what will be served. Raises AdapterRefused; OSError on a full disk."""
    allowed = [root.resolve() for root in roots]
    files = list(_files(source, allowed))
    size = sum(path.stat().st_size for _, path in files)
    if len(files) > MOST_FILES or size > MOST_BYTES:
        raise _refused("too_large", f"{len(files)} files, {size} bytes; at most {MOST_FILES} files and {MOST_BYTES} bytes", "leave checkpoints and data out")
    target = data_dir / "adapters" / f".staging-{uuid4().hex}"
    target.mkdir(parents=True)
    try:
        digests = [(name, _copy(path, target / name)) for name, path in files]
        _sync(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    digest = hashlib.sha256("".join(f"{name}\0{hexed}\n" for name, hexed in sorted(digests)).encode()).hexdigest()
    return Staged(target, digest, size)


def publish(staged: Staged, data_dir: Path, adapter: str) -> Path:
    """Give the copy its lasting place, `adapters/<adapter>/<digest>`, in one rename. The same content twice is one directory."""
    home = data_dir / "adapters" / adapter
    home.mkdir(parents=True, exist_ok=True)
    target = home / staged.digest
    if target.is_dir():
        discard(staged)
        return target
    for path in staged.path.iterdir():
        path.chmod(0o444)
    try:
        staged.path.rename(target)
    except OSError:
        if not target.is_dir():  # someone else was faster with the same content
            raise
        discard(staged)
    target.chmod(0o555)
    _sync(home)
    return target


def discard(staged: Staged) -> None:
    """Throw a private copy away."""
    shutil.rmtree(staged.path, ignore_errors=True)


def remove(path: Path, data_dir: Path) -> bool:
    """Delete an adapter's directory, which must be one of ours. Whether it is gone."""
    home = (data_dir / "adapters").resolve()
    real = path.resolve()
    if real.parent.parent != home:
        return False
    with contextlib.suppress(OSError):
        real.chmod(0o755)
    shutil.rmtree(real, ignore_errors=True)
    return not real.exists()


def sweep_staging(data_dir: Path) -> None:
    """Remove copies that a process did not finish. Call it when no other process can be copying: at the controller's start."""
    for path in (data_dir / "adapters").glob(".staging-*"):
        shutil.rmtree(path, ignore_errors=True)


def _files(source: Path, roots: list[Path]) -> Iterator[tuple[str, Path]]:
    for entry in sorted(source.iterdir()):
        name = entry.name
        if entry.is_symlink() and not any(entry.resolve().is_relative_to(root) for root in roots):
            raise _refused("symlink", f"{name} is a link that leads outside adapters.import_roots", "copy the directory with cp -L")
        if name.startswith((".", *LEFTOVERS)) or entry.is_dir() or entry.suffix.lower() in LEFT_OUT:
            continue
        if not entry.is_file() or not stat.S_ISREG(entry.stat().st_mode):
            raise _refused("not_a_file", f"{name} is not a regular file", "leave it out of the directory")
        if entry.suffix.lower() in PICKLES:
            raise _refused("pickle", f"{name} is a pickle, which can run code when it is loaded", "save with safe_serialization=True, and leave the pickle out")
        yield name, entry.resolve()


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as old, target.open("xb") as new:
        while chunk := old.read(_CHUNK):
            digest.update(chunk)
            new.write(chunk)
        new.flush()
        os.fsync(new.fileno())
    return digest.hexdigest()


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(code: str, message: str, remedy: str) -> AdapterRefused:
    return AdapterRefused(f"the adapter is refused: {message}", (Reason(code, message, remedy),))
