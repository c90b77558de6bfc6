"""training/train.py, loop.py, model.py, probes.py: real TRL, PEFT and bitsandbytes on a tiny base."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from gateway import terminal_recipe  # noqa: E402
from router.errors import BreakevenError, ConfigError, DataError, StateError  # noqa: E402
from serving.admission import Limits, check  # noqa: E402
from serving.base import identify  # noqa: E402
from serving.parity import read_conversations  # noqa: E402
from serving.verify import read_probes  # noqa: E402
from tests.patience import patience  # noqa: E402
from tests.training import tiny  # noqa: E402
from training import before, commands, dataset, loop, manifest, model, probes, recipe, tokens, train  # noqa: E402
from training.checkpoint import RunDirectory  # noqa: E402
from training.progress import Progress  # noqa: E402

pytestmark = pytest.mark.torch
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "breakeven.json", "probes.json")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


def go(path: Path, **options: Any) -> train.Trained | train.Interrupted:
    made = recipe.load(path, {})
    assert isinstance(made.data, Path)
    return train.train(made, dataset.open_any(made.data), train.Options(**options))


def stop_at(step: int, number: int = signal.SIGINT) -> Any:
    def on_progress(progress: Progress) -> None:
        if progress.phase == "training" and progress.done == step:
            signal.raise_signal(number)

    return on_progress


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.fixture(scope="module")
def trained(base: Path, place: Path) -> train.Trained:
    """One uninterrupted run, which the others are compared with."""
    seen: list[Progress] = []
    result = go(tiny.write_recipe(place, base), on_progress=seen.append)
    assert isinstance(result, train.Trained)
    steps = [p for p in seen if p.phase == "training"]
    assert [p.done for p in steps] == list(range(1, steps[-1].total + 1))
    assert steps[-1].eta_s == 0
    assert steps[-1].tokens_per_s is not None
    assert steps[-1].tokens_per_s > 0
    return result


def test_training_learns(trained: train.Trained) -> None:
    """The loss on held-out examples falls well below the base's, and the curve beside the adapter falls too."""
    metrics = trained.manifest["metrics"]
    assert metrics["validation_loss"] < 0.5 * metrics["base_validation_loss"]
    curve = json.loads(trained.path.with_name("out.training.json").read_text())["history"]
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]


def test_the_directory_is_complete_and_admitted(trained: train.Trained, base: Path) -> None:
    """Exactly the four files are there, the manifest names their digests, the run directory is gone, and serving's admission check has no objection."""
    assert tuple(files(trained.path)) == ADAPTER
    for name, digest in trained.manifest["files"].items():
        assert manifest.sha256_file(trained.path / name) == digest
    assert not RunDirectory.of(trained.path).path.exists()
    admitted = check(trained.path, identify(base), Limits(max_rank=8))
    assert admitted.reasons == ()
    assert admitted.manifest["dataset"]["digest"] == dataset.open_any(trained.path.parent / "data.jsonl").digest
    assert "/" not in json.dumps(admitted.manifest["base"])


def test_probes_are_what_the_saved_adapter_computes(trained: train.Trained, base: Path) -> None:
    """Recorded log-probabilities are those of the files on the disk, and differ from the base's."""
    recorded = read_probes(trained.path)
    assert recorded is not None
    net = PeftModel.from_pretrained(model.load_base(base, model.Host.detect(), "none"), str(trained.path)).eval()
    with torch.inference_mode():
        logits = net(input_ids=torch.tensor([recorded.token_ids[0]])).logits[0, :-1]
    again = torch.log_softmax(logits, -1).gather(1, torch.tensor(recorded.token_ids[0][1:])[:, None])[:, 0]
    assert again.tolist() == pytest.approx(recorded.adapter[0], abs=1e-4)
    assert max(abs(a - b) for a, b in zip(recorded.base[0], recorded.adapter[0], strict=True)) > 0.1


def test_recorded_conversations_are_those_that_were_learnt_from(trained: train.Trained, base: Path) -> None:
    """Messages and ids go together, so that a server can be asked to render the same."""
    recorded = read_conversations(trained.path)
    tokenizer = model.load_tokenizer(base)
    assert 1 <= len(recorded) <= 8
    for one in recorded:
        assert tuple(tokenizer.apply_chat_template([dict(m) for m in one.messages], tokenize=True, return_dict=False)) == one.token_ids


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(trained: train.Trained, base: Path, place: Path) -> None:
    """A rerun is bit for bit the same in every file; another seed is another adapter."""
    again = go(tiny.write_recipe(place, base, "again"))
    assert isinstance(again, train.Trained)
    assert files(again.path) == files(trained.path)
    other = go(tiny.write_recipe(place, base, "other", train={"seed": 6}))
    assert isinstance(other, train.Trained)
    assert (other.path / ADAPTER[1]).read_bytes() != (trained.path / ADAPTER[1]).read_bytes()


def test_a_finished_run_is_not_run_twice(trained: train.Trained, base: Path, place: Path) -> None:
    """The same recipe on the same output answers from the manifest; another recipe there is refused, and the adapter stays as it was."""
    before = files(trained.path)
    assert go(place / "out.yaml", resume=True) == train.Trained(trained.path, trained.manifest)
    changed = tiny.write_recipe(place, base, "out", train={"seed": 9})
    with pytest.raises(StateError, match="another recipe"):
        go(changed)
    tiny.write_recipe(place, base)
    assert files(trained.path) == before


def test_resuming_equals_never_having_stopped(trained: train.Trained, base: Path, place: Path) -> None:
    """Ctrl-C in the middle of the first epoch and again in the second, then --resume: the bytes are those of the uninterrupted run."""
    path = tiny.write_recipe(place, base, "stopped")
    first = go(path, on_progress=stop_at(4))
    assert isinstance(first, train.Interrupted)
    assert first.step in (4, 5)
    assert not (place / "stopped").exists()
    with pytest.raises(StateError, match="--resume"):
        go(path)
    second = go(path, resume=True, on_progress=stop_at(13, signal.SIGTERM))
    assert isinstance(second, train.Interrupted)
    third = go(path, resume=True)
    assert isinstance(third, train.Trained)
    assert files(third.path) == files(trained.path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resume_refuses_another_run(base: Path, place: Path) -> None:
    """A recipe changed after the interruption is named, and the old checkpoint is kept."""
    path = tiny.write_recipe(place, base, "changed")
    assert isinstance(go(path, on_progress=stop_at(2)), train.Interrupted)
    with pytest.raises(StateError, match="another recipe"):
        go(tiny.write_recipe(place, base, "changed", train={"learning_rate": 0.02}), resume=True)
    assert RunDirectory.of(place / "changed").latest() is not None


def test_kill_9_then_resume(trained: train.Trained, base: Path, place: Path) -> None:
    """Killed without warning after some checkpoint, a half-written checkpoint beside it: resuming ends in the same bytes."""
    path = tiny.write_recipe(place, base, "killed")
    process = subprocess.Popen([sys.executable, "-m", "tests.training.run_tiny", str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with patience(process, seconds=300):
        for line in process.stdout:
            if line.split() == ["training", "8"]:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()
    run = RunDirectory.of(place / "killed")
    torn = run.checkpoints / "checkpoint-99"
    torn.mkdir()
    (torn / "adapter_model.safetensors").write_bytes(b"half")
    assert not (place / "killed").exists()
    result = go(path, resume=True)
    assert isinstance(result, train.Trained)
    assert files(result.path) == files(trained.path)


def test_qlora_is_really_4_bit_and_resumes_exactly(base: Path, place: Path) -> None:
    """nf4 packs the layers, trains, resumes bit for bit, and its probes are recorded on the unquantised base."""
    net = model.load_base(base, model.Host.detect(), "nf4")
    assert model.quantised_layers(net) == 14
    weight = net.model.layers[0].mlp.up_proj.weight
    assert weight.quant_state.nested
    assert weight.numel() == 64 * 128 // 2
    whole = go(tiny.write_recipe(place, base, "q1", quantization="nf4", train={"epochs": 1}))
    path = tiny.write_recipe(place, base, "q2", quantization="nf4", train={"epochs": 1})
    assert isinstance(go(path, on_progress=stop_at(5)), train.Interrupted)
    resumed = go(path, resume=True)
    assert isinstance(whole, train.Trained)
    assert isinstance(resumed, train.Trained)
    assert files(resumed.path) == files(whole.path)
    assert whole.manifest["dtype"] == "float32"
    recorded = read_probes(whole.path)
    assert recorded is not None
    assert recorded.dtype == "float32"
    assert recorded.base == tuple(tuple(row) for row in _plain_logprobs(base, recorded.token_ids))
    assert check(whole.path, identify(base), Limits()).reasons == ()


def _plain_logprobs(base: Path, rows: Any) -> list[list[float]]:
    net = model.load_base(base, model.Host.detect(), "none")
    return [probes._logprobs(net, torch.tensor([row])) for row in rows]


def test_packing_trains_what_it_trains_without(base: Path, place: Path) -> None:
    """Packed rows do not look into each other: the loss of a packed batch is that of its examples apart."""
    path = tiny.write_recipe(place, base, "packed", train={"packing": True, "epochs": 1, "batch_size": 2}, lora={"dropout": 0.0})
    packed = go(path)
    assert isinstance(packed, train.Trained)
    made = recipe.load(path, {})
    words = model.load_tokenizer(base)
    rows = tokens.encode_all(words, dataset.open_any(place / "data.jsonl").train[:6], 128, model.stop_ids(base, words))
    losses = []
    for packing in (True, False):
        net = model.add_lora(model.load_base(base, model.Host.detect(), "none"), made.lora, 1)
        settings = made.train.model_copy(update={"packing": packing, "batch_size": 6})
        run = RunDirectory(place / f"packing-{packing}")
        result = loop.run(net, words, loop.Plan(settings, rows, (), run, model.Host.detect()), loop.Watch(lambda _: None, lambda: 0.0, lambda: False))
        losses.append(result.history[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_too_long_examples_are_named_and_nothing_is_left_behind(base: Path, place: Path) -> None:
    """Every example over max_length is a problem with its line; no run directory appears."""
    path = tiny.write_recipe(place, base, "long", train={"max_length": 16})
    with pytest.raises(DataError, match="nothing was cut") as caught:
        go(path)
    assert len(caught.value.problems) > 50
    assert "max_length is 16" in caught.value.problems[0].message
    assert not RunDirectory.of(place / "long").path.exists()


def test_a_loss_that_is_no_number_stops_the_run(base: Path, place: Path) -> None:
    """Damaged weights end the run at the first step with the reason."""
    broken = place / "broken-base"
    broken.mkdir()
    for file in base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(str(broken / "model.safetensors"))
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], math.nan)
    save_file(weights, str(broken / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(BreakevenError, match="loss became nan at step 1") as caught:
        go(tiny.write_recipe(place, broken, "nan"))
    assert caught.value.code == "training_diverged"


def test_bases_and_modules_that_do_not_exist(base: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that is nowhere, a directory that is no model, and module names it does not have are configuration errors."""
    monkeypatch.setattr("training.model.snapshot_download", _offline)
    with pytest.raises(ConfigError, match="neither a directory nor a model"):
        go(tiny.write_recipe(place, Path("nobody/nothing"), "absent"))
    with pytest.raises(ConfigError, match=r"no config\.json"):
        go(tiny.write_recipe(place, place, "nomodel"))
    with pytest.raises(ConfigError, match="does not fit the base"):
        go(tiny.write_recipe(place, base, "nomodule", lora={"target_modules": ["nosuch_proj"]}))


def _offline(*_: Any, **__: Any) -> str:
    raise OSError("cannot reach the hub")


def test_a_full_disk_is_said_and_the_run_can_go_on(trained: train.Trained, base: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing that fails is a message with --resume in it; when there is space again the result is the same."""
    path = tiny.write_recipe(place, base, "full")
    with monkeypatch.context() as patch:
        patch.setattr("training.train.probes.record", _no_space)
        with pytest.raises(BreakevenError, match="No space left") as caught:
            go(path)
    assert caught.value.code == "disk_full"
    assert not (place / "full").exists()
    result = go(path, resume=True)
    assert isinstance(result, train.Trained)
    assert files(result.path) == files(trained.path)


def _no_space(*_: Any) -> dict[str, Any]:
    raise OSError(28, "No space left on device")


def test_the_estimate_is_that_of_the_run(trained: train.Trained, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many steps, tokens and parameters as there were, at the speed that was measured."""
    found = before.estimated(place / "out.yaml", lambda wanted: commands.prepared(wanted, None), "2.50")
    metrics = trained.manifest["metrics"]
    assert (found["steps"], found["tokens_per_epoch"]) == (metrics["steps"], metrics["tokens_per_epoch"])
    assert found["adapter_parameters"] == sum(tensor.numel() for tensor in load_file(trained.path / "adapter_model.safetensors").values())
    assert (found["fits"], found["speed_from"]) == (True, "measured")
    assert found["nanousd"][0] >= 0
    terminal_recipe.estimated(found)
    assert "measured by an earlier run here" in capsys.readouterr().out
