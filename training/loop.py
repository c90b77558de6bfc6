"""The training loop: TRL's SFTTrainer on rows that are tokenised already, watched step by step.

Public: `run(model, tokenizer, plan, watch) -> LoopResult`, `Plan`, `Watch`.
What is ours: the order of the examples (batching.py, so that a resumed run sees the same one), when to checkpoint and when to stop. Not here: loading
(model.py), what is written at the end (train.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer
from typing_extensions import override

from router.errors import BreakevenError
from training import batching
from training.checkpoint import RunDirectory
from training.model import Host
from training.progress import Numbers, OnNumbers, OnProgress, Progress, eta
from training.recipe import Train
from training.tokens import Encoded

# Recomputing activations costs about a third more time; below this size they fit anyway.
_CHECKPOINT_ACTIVATIONS_FROM = 1_000_000_000
_LOG_POINTS = 200  # points of the loss curve, whatever the length of the run


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train on, how, and where its checkpoints go."""

    train: Train
    rows: Sequence[Encoded]
    validation: Sequence[Encoded]
    run: RunDirectory
    host: Host
    resume_from: Path | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """What the outside world sees and asks of a loop. `clock` is in seconds, any origin; a checkpoint is due every `save_steps` steps or `save_seconds`,
    and after each epoch where somebody wants to know of epochs."""

    on_progress: OnProgress
    clock: Callable[[], float]
    stop_requested: Callable[[], bool]
    save_seconds: float = 60.0
    save_steps: int | None = None
    on_numbers: OnNumbers | None = None
    on_epoch: Callable[[Any, Numbers], None] | None = None  # the model as it is after a whole epoch, and its numbers


@dataclass(frozen=True, slots=True)
class LoopResult:
    """`finished` is False when a stop was asked for before the last step. Losses are means per learnt token, in nats; None without validation rows."""

    finished: bool
    step: int
    total: int
    history: tuple[dict[str, float], ...]
    validation_loss: float | None
    base_validation_loss: float | None
    tokens_per_s: float | None


class _Order(torch.utils.data.Sampler[int]):
    """torch's name for `batching.order`. The trainer calls `set_epoch` before each epoch."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        super().__init__()
        self._lengths, self._batch_size, self._seed, self._epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration is."""
        self._epoch = epoch

    @override
    def __iter__(self) -> Iterator[int]:
        return iter(batching.order(self._lengths, self._batch_size, self._seed, self._epoch))

    def __len__(self) -> int:
        return len(self._lengths)


class _Trainer(SFTTrainer):
    """SFTTrainer with our order of examples and no model card."""

    @override
    def _get_train_sampler(self, train_dataset: Any = None) -> _Order:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        return _Order([len(ids) for ids in rows["input_ids"]], self.args.per_device_train_batch_size, self.args.seed)

    @override
    def create_model_card(self, *_: Any, **__: Any) -> None:
        """A card would claim things about the model that nobody checked."""


class _Watcher(TrainerCallback):
    """Turns the trainer's events into progress, checkpoints and a clean stop."""

    def __init__(self, watch: Watch, plan: Plan) -> None:
        self._watch, self._run, self._epochs = watch, plan.run, plan.train.epochs
        self.validate: Callable[[], float | None] = lambda: None
        self._numbers = Numbers(0, 0)
        self._accuracy: float | None = None
        self._begun = self._saved = watch.clock()
        self._first_step = 0
        self._loss: float | None = None
        self._tokens: int | None = None
        self._tokens_at: float = self._begun

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens without padding per second since this process began to train."""
        spent = self._tokens_at - self._begun
        return self._tokens / spent if self._tokens and spent > 0 else None

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clocks."""
        self._begun = self._saved = self._watch.clock()
        self._first_step = state.global_step

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint where one is due, and for the end where somebody wants it."""
        now, steps = self._watch.clock(), self._watch.save_steps
        if self._watch.stop_requested():
            control.should_training_stop = True
        due = (steps is not None and state.global_step % steps == 0) or self._whole_epoch(state)
        last = state.global_step >= state.max_steps  # so that nothing after the loop can cost the training
        if due or last or control.should_training_stop or now - self._saved >= self._watch.save_seconds:
            control.should_save = True
            self._saved = now
        self._report(state, now)

    @override
    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any) -> None:
        """Keep the latest loss. Raises BreakevenError when it is no number any more: what follows could only be noise."""
        said = logs or {}
        loss, self._accuracy = said.get("loss"), said.get("eval_mean_token_accuracy", self._accuracy)
        if loss is None:
            return
        if not math.isfinite(loss):
            message = f"the loss became {loss} at step {state.global_step}: lower learning_rate, or look for damaged examples"
            raise BreakevenError(message, code="training_diverged")
        self._loss, self._tokens, self._tokens_at = loss, int(said.get("num_tokens", 0)), self._watch.clock()
        self._numbers = Numbers(state.global_step, state.max_steps, loss, said.get("mean_token_accuracy"))
        if self._watch.on_numbers is not None:
            self._watch.on_numbers(self._numbers)

    @override
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any) -> None:
        """Seal what was just written; what an epoch gives comes first, so that a run that is killed between the two makes it again."""
        if self._watch.on_epoch is not None and self._whole_epoch(state):
            with torch.random.fork_rng():  # looking at the validation rows must not change what is trained
                self._accuracy = None
                loss = self.validate()
            numbers = replace(self._numbers, step=state.global_step, total=state.max_steps, valid_loss=loss, valid_accuracy=self._accuracy)
            self._watch.on_epoch(model, numbers)
        self._run.seal(self._run.checkpoints / f"checkpoint-{state.global_step}", state.global_step)

    def _whole_epoch(self, state: TrainerState) -> bool:
        per_epoch = int(state.max_steps / self._epochs)
        return self._watch.on_epoch is not None and per_epoch > 0 and state.global_step % per_epoch == 0

    def _report(self, state: TrainerState, now: float) -> None:
        elapsed = now - self._begun
        done = state.global_step - self._first_step
        left = eta(done, state.max_steps - self._first_step, elapsed)
        self._watch.on_progress(Progress("training", state.global_step, state.max_steps, elapsed, left, self._loss, self._tokens, self.tokens_per_s))


def run(model: Any, tokenizer: Any, plan: Plan, watch: Watch) -> LoopResult:
    """Train the adapter in `model` in place. Raises BreakevenError where the loss stops being a number."""
    watcher = _Watcher(watch, plan)
    trainer = _Trainer(
        model=model,
        args=_arguments(plan, model),
        train_dataset=_rows(plan.rows),
        processing_class=tokenizer,
        callbacks=[watcher],
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            # TRL turns the adapter of a quantised base into bfloat16, whose 8 bits of mantissa swallow small updates; float32 also survives a resume exactly.
            parameter.data = parameter.data.float()
    trainer.remove_callback(PrinterCallback)  # prints to stdout, which is the caller's
    if plan.validation:
        watcher.validate = lambda: float(trainer.evaluate(_rows(plan.validation))["eval_loss"])
    trainer.train(resume_from_checkpoint=str(plan.resume_from) if plan.resume_from else None)
    step, total = int(trainer.state.global_step), int(trainer.state.max_steps)
    finished = step >= total
    after = before = None
    if finished and plan.validation:
        rows = _rows(plan.validation)
        after = float(trainer.evaluate(rows)["eval_loss"])
        with model.disable_adapter():
            before = float(trainer.evaluate(rows)["eval_loss"])
    kept = ("step", "loss", "learning_rate")
    history = tuple({key: float(entry[key]) for key in kept} for entry in trainer.state.log_history if "loss" in entry)
    return LoopResult(finished, step, total, history, after, before, watcher.tokens_per_s)


def _rows(encoded: Sequence[Encoded]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"input_ids": [list(e.input_ids) for e in encoded], "labels": [e.labels for e in encoded]})


def _arguments(plan: Plan, model: Any) -> SFTConfig:
    train, host = plan.train, plan.host
    steps = math.ceil(len(plan.rows) / (train.batch_size * train.gradient_accumulation)) * train.epochs
    return SFTConfig(
        output_dir=str(plan.run.checkpoints),
        num_train_epochs=train.epochs,
        per_device_train_batch_size=train.batch_size,
        per_device_eval_batch_size=train.batch_size,
        gradient_accumulation_steps=train.gradient_accumulation,
        learning_rate=train.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        weight_decay=0.0,
        max_length=train.max_length if train.packing else None,  # nothing is ever cut: length was checked on the way in
        packing=train.packing,
        shuffle_dataset=train.packing,
        seed=train.seed,
        data_seed=train.seed,
        use_cpu=not host.gpu,
        bf16=host.gpu,
        gradient_checkpointing=sum(p.numel() for p in model.parameters()) >= _CHECKPOINT_ACTIVATIONS_FROM,
        prediction_loss_only=True,
        logging_steps=max(1, int(steps) // _LOG_POINTS),
        logging_nan_inf_filter=False,
        save_strategy="no",  # the watcher says when
        save_total_limit=2,
        dataloader_num_workers=0,
        dataloader_pin_memory=host.gpu,
        report_to="none",
        disable_tqdm=True,
    )
