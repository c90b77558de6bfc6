"""Loading what is trained: tokenizer, base weights (whole or really quantised to 4 bits), the fresh adapter on top.

Public: `directory`, `load_tokenizer`, `stop_ids`, `Host.detect`, `load_base`, `add_lora`, `save_adapter`.
One of the three files with torch (train.py, probes.py). Not here: the training loop.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from bitsandbytes.nn.modules import Linear4bit
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from router.errors import ConfigError, Problem
from training.recipe import Lora

# What a base needs to be trained and identified; pickled weights are left where they are and never loaded.
_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


@dataclass(frozen=True, slots=True)
class Host:
    """Where training runs and at what precision vLLM serves there: bfloat16 on a GPU, float32 on a CPU (the only dtype with exact parity)."""

    device: str
    serving_dtype: torch.dtype

    @classmethod
    def detect(cls) -> Host:
        """A CUDA device where there is one."""
        return cls("cuda", torch.bfloat16) if torch.cuda.is_available() else cls("cpu", torch.float32)

    @property
    def gpu(self) -> bool:
        """Whether this is a CUDA device."""
        return self.device == "cuda"

    @property
    def dtype_name(self) -> str:
        """`float32` or `bfloat16`, as manifests write it."""
        return str(self.serving_dtype).removeprefix("torch.")


def quiet() -> None:
    """No progress bars and no chatter from the libraries: what there is to say goes through the callback."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()


def directory(base: str) -> Path:
    """The directory of a base: itself, or the Hugging Face snapshot, downloaded where it is not there. Raises ConfigError."""
    path = Path(base)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"{base} holds no config.json: it is not a model directory", (Problem("holds no config.json", key="base"),))
        return path
    try:
        return Path(snapshot_download(base, allow_patterns=_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        said = str(error).split("\n", 1)[0]
        raise ConfigError(f"the base {base!r} is neither a directory nor a model that could be fetched: {said}", (Problem(said, key="base"),)) from error


def load_tokenizer(base: Path) -> Any:
    """The tokenizer with the base's own chat template. Raises ConfigError where there is no fast one (offsets are needed for the loss mask)."""
    tokenizer = AutoTokenizer.from_pretrained(str(base))
    if not tokenizer.is_fast:
        raise ConfigError(f"{base} has no fast tokenizer (tokenizer.json), which the loss mask needs; convert it or choose another base")
    return tokenizer


def stop_ids(base: Path, tokenizer: Any) -> frozenset[int]:
    """Every id at which the server stops: the tokenizer's eos and those of generation_config.json and config.json."""
    ids: set[int] = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    for name in ("generation_config.json", "config.json"):
        if (base / name).is_file():
            eos = json.loads((base / name).read_text(encoding="utf-8")).get("eos_token_id")
            ids |= set(eos) if isinstance(eos, list) else set() if eos is None else {eos}
    return frozenset(ids)


def load_base(base: Path, host: Host, quantization: str) -> Any:
    """The base ready to take an adapter. `nf4`: 4-bit with double quantisation and bfloat16 compute; refused unless layers really are 4-bit."""
    if quantization == "none":
        whole: Any = AutoModelForCausalLM.from_pretrained(str(base), dtype=host.serving_dtype, use_safetensors=True)
        return whole.to(host.device)
    config: Any = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
    model = AutoModelForCausalLM.from_pretrained(
        str(base), dtype=torch.bfloat16, quantization_config=config, device_map={"": host.device}, use_safetensors=True
    )
    if quantised_layers(model) == 0:
        raise ConfigError(f"no layer of {base} could be quantised to 4 bits; train with `quantization: none`")
    return model


def quantised_layers(model: Any) -> int:
    """How many linear layers hold packed 4-bit weights."""
    weights: list[Any] = [module.weight for module in model.modules() if isinstance(module, Linear4bit)]
    return len([weight for weight in weights if weight.dtype == torch.uint8 and weight.quant_type == "nf4"])


def add_lora(model: Any, lora: Lora, seed: int) -> Any:
    """A fresh adapter on the base: the same weights for the same seed. Raises ConfigError where no module has the names asked for."""
    transformers.set_seed(seed)
    targets = lora.target_modules if lora.target_modules == "all-linear" else list(lora.target_modules)
    scale: Any = lora.scale  # PEFT says int and computes with any number
    config = LoraConfig(
        r=lora.r, lora_alpha=scale, lora_dropout=lora.dropout, target_modules=targets, use_rslora=lora.rslora, bias="none", task_type="CAUSAL_LM"
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        said = str(error).split("\n", 1)[0]
        raise ConfigError(f"the adapter does not fit the base: {said}", (Problem(said, key="lora.target_modules"),)) from error


def save_adapter(model: PeftModel, out: Path, base: str) -> None:
    """adapter_model.safetensors and adapter_config.json, the same bytes for the same weights (PEFT writes sets in any order)."""
    model.save_pretrained(str(out), safe_serialization=True, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)
    path = out / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
