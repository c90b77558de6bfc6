"""training/batching.py, progress.py, environment.py, checkpoint.py: small pure parts."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import StateError
from training import batching, environment, progress
from training.checkpoint import SEAL, RunDirectory


@given(st.lists(st.integers(1, 500), max_size=300), st.integers(1, 17), st.integers(0, 3), st.integers(0, 3))
def test_the_order_is_a_permutation_and_depends_on_its_arguments_alone(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    """Every example occurs once, whatever the sizes, and the same arguments give the same order."""
    found = batching.order(lengths, size, seed, epoch)
    assert sorted(found) == list(range(len(lengths)))
    assert found == batching.order(lengths, size, seed, epoch)


def test_batches_hold_similar_lengths_in_random_company() -> None:
    """Padding is a small share of what random batches waste, and epochs and seeds differ."""
    rng = random.Random(1)
    lengths = [rng.randrange(10, 500) for _ in range(1000)]

    def waste(order: list[int]) -> int:
        batches = [order[i : i + 16] for i in range(0, len(order), 16)]
        return sum(max(lengths[i] for i in b) * len(b) - sum(lengths[i] for i in b) for b in batches)

    grouped = batching.order(lengths, 16, 0, 0)
    assert waste(grouped) < 0.1 * waste(list(range(1000)))
    assert grouped != batching.order(lengths, 16, 0, 1)
    assert grouped != batching.order(lengths, 16, 1, 0)
    means = [sum(lengths[i] for i in grouped[k : k + 16]) for k in range(0, 960, 16)]
    assert means != sorted(means)


def test_eta() -> None:
    """The rest takes as long as the part so far, per step; before the first step nothing is known."""
    assert progress.eta(0, 10, 5.0) is None
    assert progress.eta(2, 10, 5.0) == 20.0
    progress.silent(progress.Progress("training", 0, 1, 0.0))


def test_the_environment_respects_what_is_set() -> None:
    """Only what the user did not set is added."""
    assert environment.for_training({})["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_WAIT_POLICY" not in environment.for_training({"OMP_WAIT_POLICY": "ACTIVE"})


def sealed(run: RunDirectory, step: int) -> Path:
    """A checkpoint with one file, sealed."""
    checkpoint = run.checkpoints / f"checkpoint-{step}"
    (checkpoint / "deep").mkdir(parents=True)
    (checkpoint / "deep" / "weights").write_bytes(b"w" * step)
    run.seal(checkpoint, step)
    return checkpoint


def test_only_sealed_and_unharmed_checkpoints_count(tmp_path: Path) -> None:
    """The newest whole one is found; torn, unsealed and altered ones are passed over and deleted."""
    run = RunDirectory.of(tmp_path / "out")
    assert run.path == tmp_path / "out.run"
    run.begin({"a": 1}, resume=False)
    assert run.latest() is None
    good, altered = sealed(run, 3), sealed(run, 10)
    (altered / "deep" / "weights").write_bytes(b"x" * 10)
    unsealed = sealed(run, 20)
    (unsealed / SEAL).unlink()
    (sealed(run, 30) / SEAL).write_text("{")
    assert run.latest() == good
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ["checkpoint-3"]
    run.remove()
    assert not run.path.exists()


def test_a_run_begins_once_and_goes_on_only_as_itself(tmp_path: Path) -> None:
    """Starting over an unfinished run needs --resume; resuming names what changed; a directory killed before it began is begun anew."""
    run = RunDirectory.of(tmp_path / "out")
    run.checkpoints.mkdir(parents=True)
    run.begin({"recipe": 1, "dataset": "x"}, resume=True)
    sealed(run, 7)
    with pytest.raises(StateError, match=r"step 7.*--resume"):
        run.begin({"recipe": 1, "dataset": "x"}, resume=False)
    run.begin({"recipe": 1, "dataset": "x"}, resume=True)
    with pytest.raises(StateError, match="another dataset, recipe"):
        run.begin({"recipe": 2, "dataset": "y"}, resume=True)
