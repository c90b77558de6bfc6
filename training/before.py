"""A recipe before anything is trained: made from an axolotl file, and what its run will take. Plain functions from values to documents.

torch is imported inside `estimated` alone. Not here: flags (breakeven.py), the arithmetic (estimate.py), the conversion (axolotl.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.config import document
from router.errors import ConfigError, Problem, StateError
from router.money import parse_usd
from training import axolotl, recipe
from training.dataset import Dataset
from training.estimate import Device, Estimate, Shape, Work, estimate


def imported(source: Path, out: Path) -> dict[str, Any]:
    """Write the recipe that does what the axolotl file `source` says. Raises ConfigError with every problem, StateError where `out` exists."""
    read = document.read(source, os.environ)
    if read.faults:
        problems = tuple(Problem(fault.message, read.file, fault.line or None) for fault in read.faults)
        raise ConfigError(f"{source}: {len(problems)} problem(s); no recipe was written", problems)
    if not axolotl.is_axolotl(read.data):
        raise ConfigError(f"{source} has no base_model: it is not an axolotl configuration", (Problem("is missing", read.file, 1, "base_model"),))
    converted = axolotl.convert(read)
    text = "".join(f"# {note}\n" for note in converted.notes) + yaml.safe_dump(converted.recipe, sort_keys=False, default_flow_style=False)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise StateError(f"{out} exists; name another file with --out, or remove it") from error
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
    return {"recipe": str(out), **converted.recipe, "notes": list(converted.notes)}


def estimated(path: Path, data_of: Callable[[recipe.Recipe], Dataset], gpu_hour_usd: str | None) -> dict[str, Any]:
    """What the run of a recipe will take on this machine. Raises ConfigError and DataError as training would."""
    wanted = recipe.load(path, os.environ)
    data = data_of(wanted)
    import torch

    from training import model, tokens

    base = model.directory(wanted.base)
    tokenizer = model.load_tokenizer(base)
    rows = tokens.encode_all(tokenizer, data.train, wanted.train.max_length, model.stop_ids(base, tokenizer))
    lengths = [len(row.input_ids) for row in rows]
    host = model.Host.detect()
    device = Device(
        gpu=host.gpu,
        dtype=host.dtype_name,
        tokens_per_s=measured(wanted, host.device),
        gpu_hour_nanousd=None if gpu_hour_usd is None else parse_usd(gpu_hour_usd),
        memory_bytes=torch.cuda.mem_get_info()[1] if host.gpu else _host_memory(),
    )
    made = estimate(_work(wanted, lengths), shape_of(base), device)
    return document_of(wanted, lengths, made)


def measured(wanted: recipe.Recipe, device: str) -> float | None:
    """The speed of the latest earlier run beside the output with the same base, quantisation and kind of device; None without one."""
    found = sorted(wanted.output.parent.glob("*.training.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        same = body.get("base") == _base_name(wanted) and body.get("quantization") == wanted.quantization and body.get("device") == device
        if same and body.get("tokens_per_s"):  # a run that was resumed at its end has none
            return float(body["tokens_per_s"])
    return None


def shape_of(base: Path) -> Shape:
    """The sizes of a base directory. Raises ConfigError for an architecture whose sizes are not known."""
    config: Mapping[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
    try:
        return Shape.of(config.get("text_config", config))
    except KeyError as error:
        raise ConfigError(f"{base}/config.json has no {error}: what training this architecture takes is not known") from error


def document_of(wanted: recipe.Recipe, lengths: list[int], made: Estimate) -> dict[str, Any]:
    """The answer as one document."""
    return {
        "name": wanted.name,
        "base": _base_name(wanted),
        "quantization": wanted.quantization,
        "examples": len(lengths),
        "tokens_per_epoch": sum(lengths),
        "longest_example": max(lengths),
        **made.as_dict(),
    }


def _work(wanted: recipe.Recipe, lengths: list[int]) -> Work:
    train = wanted.train
    return Work(
        examples=len(lengths),
        tokens=sum(lengths),
        longest=max(lengths),
        epochs=train.epochs,
        batch=train.batch_size,
        accumulation=train.gradient_accumulation,
        max_length=train.max_length,
        packing=train.packing,
        rank=wanted.lora.r,
        quantization=wanted.quantization,
    )


def _base_name(wanted: recipe.Recipe) -> str:
    return Path(wanted.base).name if Path(wanted.base).is_dir() else wanted.base


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
