"""One training run, from a recipe and a dataset to an adapter directory that proves where it came from.

Public: `train(recipe, dataset, options) -> Trained | Interrupted`, `Options`.
The adapter directory appears in one rename and only when complete: adapter_config.json, adapter_model.safetensors, probes.json, and last breakeven.json.
Until then everything stands in `<output>.run` and survives Ctrl-C and kill -9. Not here: the loop itself (loop.py), loading (model.py).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from router.errors import BreakevenError, StateError
from serving.base import identify
from training import epochs, loop, manifest, model, probes, tokens
from training.checkpoint import RunDirectory
from training.dataset import Dataset
from training.progress import OnNumbers, OnProgress, Progress, never, silent
from training.recipe import Recipe

FORMAT = 1
MANIFEST = "breakeven.json"
_VERSIONS = ("torch", "transformers", "peft", "trl", "bitsandbytes")


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, as opposed to what to train. `threads` None leaves torch's own number (OMP_NUM_THREADS). `stop` is asked after each step.

    `epochs`: a directory that gets the adapters of the last whole epochs but the very last, each complete: `step-<n>`, with its `numbers.json`.
    """

    resume: bool = False
    threads: int | None = None
    save_seconds: float = 60.0
    save_steps: int | None = None
    on_progress: OnProgress = silent
    clock: Callable[[], float] = time.monotonic
    on_numbers: OnNumbers | None = None
    stop: Callable[[], bool] = never
    epochs: Path | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished adapter directory and its manifest."""

    path: Path
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Stopped on request. `step` of `total` is saved in `run`; `--resume` goes on from there."""

    run: Path
    step: int
    total: int | None


@dataclass(slots=True)
class _Stop:
    """The flag that a signal sets and the loop reads."""

    event: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.event.is_set():
            raise KeyboardInterrupt  # the second time: the user means now
        self.event.set()


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whether anyone wants the loop to stop."""

    signal: _Stop
    other: Callable[[], bool]

    def __call__(self) -> bool:
        return self.signal.event.is_set() or self.other()


def train(recipe: Recipe, dataset: Dataset, options: Options | None = None) -> Trained | Interrupted:
    """Run the recipe on the dataset.

    Raises ConfigError (base, modules), DataError (examples by line), StateError (output or run directory in the way), BreakevenError (diverged, memory, disk).
    """
    options = options or Options()
    run = RunDirectory.of(recipe.output)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    model.quiet()
    options.on_progress(Progress("loading", 0, 1, 0.0))
    base = model.directory(recipe.base)
    identity = _identity(recipe, base, dataset)
    finished = _finished(recipe.output, identity)
    if finished is not None:
        run.remove()
        return finished
    tokenizer = model.load_tokenizer(base)
    stops = model.stop_ids(base, tokenizer)
    rows = tokens.encode_all(tokenizer, dataset.train, recipe.train.max_length, stops)
    validation = tokens.encode_all(tokenizer, dataset.validation, recipe.train.max_length, stops)
    run.begin(identity, resume=options.resume)
    with _stopping() as stop, _explained(run):
        plan = loop.Plan(recipe.train, rows, validation, run, model.Host.detect(), run.latest())
        asked = _Asked(stop, options.stop)
        keep = None if options.epochs is None else epochs.Keeper(options.epochs, base_name(recipe.base), options.on_numbers)
        watch = loop.Watch(options.on_progress, options.clock, asked, options.save_seconds, options.save_steps, options.on_numbers, keep)
        result = _fit(recipe, base, tokenizer, plan, watch)
        if not result.finished:
            return Interrupted(run.path, result.step, result.total)
        options.on_progress(Progress("probing", 0, 1, 0.0))
        body = _manifest(recipe, dataset, identity, rows, result)
        for step, kept in epochs.raw(options.epochs, result.total):
            if not (epochs.complete(kept) / MANIFEST).exists():
                _write(epochs.complete(kept), kept, base, plan, {**body, "checkpoint_step": step}, dataset)
        trained = _write(recipe.output, plan.run.path / "adapter", base, plan, body, dataset)
    manifest.write_json(recipe.output.with_name(f"{recipe.output.name}.training.json"), _curve(recipe, plan.host.device, result))
    run.remove()
    return trained


def _identity(recipe: Recipe, base: Path, dataset: Dataset) -> dict[str, Any]:
    """What must be the same for a run to be the same run, as JSON gives it back."""
    made_on = identify(base, base_name(recipe.base)).as_dict()
    body = {"format": FORMAT, "name": recipe.name, "base": made_on, "recipe": recipe.settings(), "dataset": dataset.digest}
    plain: dict[str, Any] = json.loads(json.dumps(body))
    return plain


def _finished(output: Path, identity: Mapping[str, Any]) -> Trained | None:
    """The adapter where this very run has made it already; None where there is none. Raises StateError where another stands there."""
    if not (output / MANIFEST).exists():
        return None
    body = manifest.read(output, MANIFEST)
    then = {**body, "dataset": body.get("dataset", {}).get("digest")}
    if any(then.get(key) != value for key, value in identity.items()):
        raise StateError(f"{output} holds an adapter from another recipe, base or dataset; name another output, or remove it first")
    return Trained(output, body)


def _manifest(recipe: Recipe, dataset: Dataset, identity: Mapping[str, Any], rows: list[tokens.Encoded], result: loop.LoopResult) -> dict[str, Any]:
    """Everything that can be known without a clock: the same run gives the same bytes."""
    return {
        **identity,
        "dataset": {"digest": dataset.digest, "train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
        "code": importlib.metadata.version("breakeven"),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        "quantization": recipe.quantization,
        "seed": recipe.train.seed,
        "metrics": {
            "steps": result.total,
            "tokens_per_epoch": sum(len(row.input_ids) for row in rows),
            "learnt_tokens_per_epoch": sum(sum(row.mask) for row in rows),
            "validation_loss": result.validation_loss,
            "base_validation_loss": result.base_validation_loss,
        },
    }


def _fit(recipe: Recipe, base: Path, tokenizer: Any, plan: loop.Plan, watch: loop.Watch) -> loop.LoopResult:
    """Load, train, and leave the adapter in the run directory. The model is garbage when this returns: the next one may not fit beside it."""
    net = model.add_lora(model.load_base(base, plan.host, recipe.quantization), recipe.lora, recipe.train.seed)
    result = loop.run(net, tokenizer, plan, watch)
    if result.finished:
        model.save_adapter(net, plan.run.path / "adapter", base_name(recipe.base))
    return result


def _write(output: Path, source: Path, base: Path, plan: loop.Plan, body: dict[str, Any], dataset: Dataset) -> Trained:
    with manifest.writing(output) as out:
        shutil.copytree(source, out, dirs_exist_ok=True)
        rows, examples = (plan.validation, dataset.validation) if plan.validation else (plan.rows, dataset.train)
        record = probes.record(out, base, plan.host, [row.input_ids for row in rows])
        manifest.write_json(out / "probes.json", record | {"conversations": probes.conversations(examples, rows)})
        body["dtype"] = probes.dtype_of(out / "adapter_model.safetensors")
        body["files"] = {path.name: manifest.sha256_file(path) for path in sorted(out.iterdir())}
        manifest.write_json(out / MANIFEST, body)
    return Trained(output, body)


def _curve(recipe: Recipe, device: str, result: loop.LoopResult) -> dict[str, Any]:
    """What depends on the machine and the hour: kept beside the adapter, not in it."""
    made_on = {"base": base_name(recipe.base), "quantization": recipe.quantization, "device": device}
    return made_on | {"steps": result.total, "tokens_per_s": result.tokens_per_s, "history": list(result.history)}


def base_name(base: str) -> str:
    """A base as artefacts name it: the Hugging Face id, or the last part of a directory; never a path of this machine."""
    return Path(base).name if Path(base).is_dir() else base


@contextlib.contextmanager
def _stopping() -> Iterator[_Stop]:
    """SIGINT and SIGTERM ask the loop to save and end; a second one interrupts at once. Outside the main thread signals stay as they are."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _explained(run: RunDirectory) -> Iterator[None]:
    """Memory and disk that ran out, said in words; what was saved before stays usable."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise BreakevenError(
            f"out of memory: lower batch_size (and raise gradient_accumulation), lower max_length, or use quantization: nf4; then --resume ({run.path})",
            code="out_of_memory",
        ) from error
    except OSError as error:
        raise BreakevenError(f"writing failed: {error.strerror or error}; free some space, then --resume ({run.path})", code="disk_full") from error
