"""Train a recipe in a process of its own and print each step: `python run_tiny.py RECIPE`. For tests that kill it."""

from __future__ import annotations

import sys
from pathlib import Path

from training import dataset, recipe, train
from training.progress import Progress


def show(progress: Progress) -> None:
    """One line per step, at once."""
    print(progress.phase, progress.done, flush=True)


if __name__ == "__main__":
    made = recipe.load(Path(sys.argv[1]), {})
    assert isinstance(made.data, Path)
    train.train(made, dataset.open_any(made.data), train.Options(on_progress=show, save_steps=3, threads=1))
