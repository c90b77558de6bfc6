"""Probes: a few conversations with the log-probabilities the trainer sees for them, so that serving can prove it computes the same adapter.

Public: `record(adapter, base, host, rows) -> dict` (the body of probes.json, read by serving/verify.py) and `conversations(examples, rows)`
(read by serving/parity.py).
Recorded with the saved adapter on the unquantised base at serving precision, for QLoRA too: that is what vLLM serves. Log-probabilities are natural
logarithms; entry i is of token_ids[i + 1] given everything before it.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open

from training.chat import Example
from training.model import Host, load_base
from training.tokens import Encoded

FORMAT = 1
PROBES = 8
PROBE_TOKENS = 512  # a probe is cut here: it proves weights, not answers


def choose(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Up to eight token sequences, spread evenly over `rows`, each at least two tokens long."""
    usable = [list(row[:PROBE_TOKENS]) for row in rows if len(row) > 1]
    step = max(1, len(usable) // PROBES)
    return usable[::step][:PROBES]


def record(adapter: Path, base: Path, host: Host, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The body of probes.json for the saved adapter in directory `adapter`."""
    gc.collect()  # the training model is garbage by now, and on a GPU the next one may not fit beside it
    if host.gpu:
        torch.cuda.empty_cache()
    model = PeftModel.from_pretrained(load_base(base, host, "none"), str(adapter)).eval()
    probes = []
    for token_ids in choose(rows):
        ids = torch.tensor([token_ids], device=host.device)
        with model.disable_adapter():
            plain = _logprobs(model, ids)
        probes.append({"token_ids": token_ids, "base_logprobs": plain, "adapter_logprobs": _logprobs(model, ids)})
    return {"format": FORMAT, "dtype": host.dtype_name, "base": {"logprobs": [probe["base_logprobs"] for probe in probes]}, "probes": probes}


def conversations(examples: Sequence[Example], rows: Sequence[Encoded]) -> list[dict[str, Any]]:
    """Up to eight conversations, spread evenly, each with the ids the trainer made of it; `rows[i]` is of `examples[i]`."""
    step = max(1, len(rows) // PROBES)
    pairs = list(zip(examples, rows, strict=True))[::step][:PROBES]
    return [{"messages": list(one.messages), "tools": list(one.tools), "token_ids": list(row.input_ids)} for one, row in pairs]


@torch.inference_mode()
def _logprobs(model: Any, ids: torch.Tensor) -> list[float]:
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    chosen = torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None])
    return [round(value, 6) for value in chosen[:, 0].tolist()]


def dtype_of(weights: Path) -> str:
    """The one dtype of a safetensors file, such as `float32`."""
    with safe_open(str(weights), framework="pt") as file:
        return ", ".join(sorted({str(file.get_tensor(key).dtype).removeprefix("torch.") for key in file.keys()}))  # noqa: SIM118 - not a mapping
