"""The adapters after each of the last whole epochs, kept while a run goes on: what a job's checkpoints are made of.

Public: `Keeper` (called by the loop), `raw(directory, total)`, `complete(path)`, `finished(directory)`.
A raw one is `step-<n>.raw` and, written last, its numbers `step-<n>.json`; the complete one beside them, `step-<n>`, is an adapter directory like any other.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training import manifest, model
from training.progress import Numbers, OnNumbers

KEPT = 3  # OpenAI keeps the last three epochs; the very last is the model itself
_RAW = ".raw"


@dataclass(frozen=True, slots=True)
class Keeper:
    """Saves the adapter after an epoch, numbers last, and forgets the oldest. `base` is the base's public name."""

    directory: Path
    base: str
    on_numbers: OnNumbers | None = None

    def __call__(self, net: Any, numbers: Numbers) -> None:
        place = self.directory / f"step-{numbers.step}{_RAW}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        model.save_adapter(net, place, self.base)
        manifest.write_json(_numbers(place), asdict(numbers))
        for _, old in _found(self.directory)[:-KEPT]:
            _numbers(old).unlink()
            shutil.rmtree(old)
        if self.on_numbers is not None and numbers.valid_loss is not None:
            self.on_numbers(numbers)


def raw(directory: Path | None, total: int) -> list[tuple[int, Path]]:
    """What is to be made complete: every epoch that is kept but the last, by step."""
    if directory is None:
        return []
    return [(step, path) for step, path in _found(directory) if step < total]


def complete(path: Path) -> Path:
    """The adapter directory made of a raw one."""
    return path.with_name(path.name.removesuffix(_RAW))


def finished(directory: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The adapter directories of epochs that are kept and the numbers of each, by step; of the very last, whose adapter is the run's own, too."""
    return [(complete(path), json.loads(_numbers(path).read_text(encoding="utf-8"))) for _, path in _found(directory)]


def _found(directory: Path) -> list[tuple[int, Path]]:
    """The whole raw ones by step."""
    found = [(int(path.name.removesuffix(_RAW).removeprefix("step-")), path) for path in directory.glob(f"step-*{_RAW}") if _numbers(path).exists()]
    return sorted(found)


def _numbers(path: Path) -> Path:
    return path.with_suffix(".json")
