"""The run directory: what an interrupted training run needs to go on, and how it knows which of it is whole.

Public: `RunDirectory(output)` with `begin(identity, resume)`, `seal(checkpoint, step)`, `latest()`, `remove()`.
A checkpoint counts only once its seal, written last, names the size and digest of every file: a `kill -9` in the middle of saving leaves an unsealed
directory that is ignored and deleted. Pure files; not here: what is inside a checkpoint (train.py, transformers).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import StateError
from training.manifest import sha256_file, write_json

SEAL = "sealed.json"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """`<output>.run`, beside the adapter directory that the run will make."""

    path: Path

    @classmethod
    def of(cls, output: Path) -> RunDirectory:
        """The run directory of an adapter directory."""
        return cls(output.with_name(f"{output.name}.run"))

    @property
    def checkpoints(self) -> Path:
        """Where the trainer writes `checkpoint-<step>` directories."""
        return self.path / "checkpoints"

    def begin(self, identity: Mapping[str, Any], *, resume: bool) -> None:
        """Start a run, or go on with one. Raises StateError where one is there and `resume` was not asked for, or where it is another run's."""
        if not self.path.exists() or not (self.path / "run.json").exists():
            shutil.rmtree(self.path, ignore_errors=True)
            self.checkpoints.mkdir(parents=True)
            write_json(self.path / "run.json", dict(identity))
            return
        step = self._step(self.latest())
        if not resume:
            raise StateError(f"an unfinished run stands in {self.path} (step {step}): go on with --resume, or delete that directory to start again")
        then = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        changed = sorted(key for key in {*then, *identity} if then.get(key) != identity.get(key))
        if changed:
            raise StateError(f"the run in {self.path} was begun with another {', '.join(changed)}: undo the change, or delete that directory to start again")

    def seal(self, checkpoint: Path, step: int) -> None:
        """Declare a checkpoint whole: every file with its size and digest, written last and in one rename."""
        files = {str(p.relative_to(checkpoint)): [p.stat().st_size, sha256_file(p)] for p in sorted(checkpoint.rglob("*")) if p.is_file() and p.name != SEAL}
        write_json(checkpoint / SEAL, {"step": step, "files": files})

    def latest(self) -> Path | None:
        """The newest whole checkpoint; unsealed or damaged ones are deleted on the way, so that no later step trips over them."""
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=self._step, reverse=True)
        for checkpoint in found:
            if self._whole(checkpoint):
                return checkpoint
            shutil.rmtree(checkpoint, ignore_errors=True)
        return None

    def remove(self) -> None:
        """Delete the run: the adapter is finished."""
        shutil.rmtree(self.path, ignore_errors=True)

    @staticmethod
    def _step(checkpoint: Path | None) -> int:
        tail = checkpoint.name.rpartition("-")[2] if checkpoint else "0"
        return int(tail) if tail.isdigit() else -1

    @staticmethod
    def _whole(checkpoint: Path) -> bool:
        try:
            files = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["files"]
            return all((checkpoint / name).stat().st_size == size and sha256_file(checkpoint / name) == digest for name, (size, digest) in files.items())
        except (OSError, ValueError, KeyError, TypeError):
            return False
