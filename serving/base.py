"""Which base model an engine serves, as hashes that do not depend on where it lies or who saved it last, and the shapes a LoRA for it must have.

Public: `identify(directory) -> BaseIdentity`, `locate(model, cache) -> Path | None`, `from_dict`, `template_hash`, `tokenizer_hash`.
The trainer writes `identify(base).as_dict()` under `"base"` in an adapter's `breakeven.json`; admission compares it with the engine's.
Not here: reading adapters (tensors.py) and judging them (admission.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from router.errors import DataError
from serving import documents

# Keys that saving a model again changes without changing the model.
VOLATILE = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "_attn_implementation_autoset", "quantization_config"})
# Dense decoders whose seven projections carry these names in vLLM and in PEFT alike.
ARCHITECTURES = frozenset({"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "granite", "smollm3"})
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
MODULES = ATTENTION + MLP
_SAMPLE = 1 << 20
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """What a base model is. Hashes are hex sha256; `template` is None for a model without a chat template.

    `weights` covers each weights file's size, first and last MiB: enough to tell two models apart, cheap for 15 GB.
    `layers` and `shapes` (module -> (out, in)) are what a LoRA must match; `shapes` is empty for an architecture we cannot check.
    `revision` is the commit where it lies in a Hugging Face hub cache, else "".
    """

    name: str
    architecture: str
    config: str
    weights: str
    tokenizer: str
    template: str | None
    layers: int = 0
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    revision: str = ""

    def as_dict(self) -> dict[str, object]:
        """JSON-safe; `from_dict` reads it back."""
        return asdict(self)


def from_dict(body: Mapping[str, Any]) -> BaseIdentity:
    """The identity a manifest recorded. Raises DataError when a part is missing or of the wrong kind."""
    try:
        texts = {key: body[key] for key in ("name", "architecture", "config", "weights", "tokenizer")}
        template = body.get("template")
        texts_only = all(isinstance(value, str) for value in texts.values()) and isinstance(template, str | None)
        shapes = {str(k): (int(v[0]), int(v[1])) for k, v in dict(body.get("shapes", {})).items()}
        identity = BaseIdentity(**texts, template=template, layers=int(body.get("layers", 0)), shapes=shapes)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"the manifest's `base` is not an identity ({error}); publish the adapter again") from error
    if not texts_only:
        raise DataError("the manifest's `base` holds something that is not a text; publish the adapter again")
    return identity


def identify(directory: Path, name: str | None = None) -> BaseIdentity:
    """Read the identity of the model in `directory`; `name` is what people call it. Raises DataError naming the file that is missing or damaged."""
    config = _json(directory / "config.json")
    architecture = str(config.get("model_type", ""))
    lasting = {key: value for key, value in config.items() if key not in VOLATILE}
    layers, shapes = _shapes(architecture, config)
    return BaseIdentity(
        name=name or directory.name,
        architecture=architecture,
        config=_digest(lasting),
        weights=_weights(directory),
        tokenizer=tokenizer_hash(directory) or "",
        template=template_hash(directory),
        layers=layers,
        shapes=shapes,
        revision=directory.name if directory.parent.name == "snapshots" else "",
    )


def locate(model: str, cache: Path) -> Path | None:
    """Where `model` lies: a directory of that path, or a Hugging Face id in the hub cache directory `cache`; None when it is not on this machine."""
    if Path(model).is_dir():
        return Path(model)
    home = cache / ("models--" + model.replace("/", "--"))
    reference = home / "refs" / "main"
    if reference.is_file():
        snapshot = home / "snapshots" / reference.read_text().strip()
        if (snapshot / "config.json").is_file():
            return snapshot
    return None


def tokenizer_hash(directory: Path) -> str | None:
    """The vocabulary, merges and added tokens of `tokenizer.json`, however it was written; None where there is none."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        return None
    body = _json(path)
    model = body.get("model") or {}
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges") or ()]
    added = sorted((token.get("id"), token.get("content")) for token in body.get("added_tokens") or ())
    return _digest({"vocab": model.get("vocab"), "merges": merges, "added": added})


def template_hash(directory: Path) -> str | None:
    """The chat template's text without generation markers (they steer the loss mask, not the prompt) and outer space; None where there is none."""
    path = directory / "chat_template.jinja"
    if path.is_file():
        text: object = path.read_text(encoding="utf-8")
    elif (directory / "tokenizer_config.json").is_file():
        text = _json(directory / "tokenizer_config.json").get("chat_template")
        if isinstance(text, list):  # several by name, as transformers wrote them until 4.43
            text = next((one.get("template") for one in text if isinstance(one, dict) and one.get("name") == "default"), None)
    else:
        return None
    return hashlib.sha256(_GENERATION.sub("", text).strip().encode()).hexdigest() if isinstance(text, str) else None


def _shapes(architecture: str, config: Mapping[str, Any]) -> tuple[int, dict[str, tuple[int, int]]]:
    if architecture not in ARCHITECTURES:
        return 0, {}
    try:
        hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
        heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"config.json lacks a size ({error}); it is not a complete {architecture} model") from error
    head = int(config.get("head_dim") or hidden // heads)
    keys = int(config.get("num_key_value_heads") or heads) * head
    attention = {"q_proj": (heads * head, hidden), "k_proj": (keys, hidden), "v_proj": (keys, hidden), "o_proj": (hidden, heads * head)}
    return layers, {**attention, "gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}


def _weights(directory: Path) -> str:
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise DataError(f"{directory} has no .safetensors weights; convert the model, or name another directory")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            if size > _SAMPLE:
                file.seek(max(_SAMPLE, size - _SAMPLE))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _json(path: Path) -> dict[str, Any]:
    try:
        body = documents.read(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; name the directory of a complete model") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise DataError(f"{path} must hold a JSON object")
    return body


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
