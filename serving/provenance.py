"""Whether an adapter was made for this very base: by the trainer's manifest where there is one, else by the names and files PEFT leaves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.errors import DataError, Reason
from serving import documents
from serving.base import BaseIdentity, from_dict, template_hash, tokenizer_hash
from serving.peft import PeftConfig

MANIFEST = "breakeven.json"
# The same weights in the packing a trainer prefers carry such suffixes: unsloth/Qwen2.5-7B-Instruct-bnb-4bit.
_PACKING = re.compile(r"(?:-(?:unsloth|bnb|4bit|8bit|awq|gptq|int4|int8))+$")
_PUBLISH = "publish it again with `breakeven train`, or leave its files as they were"


def read_manifest(path: Path) -> tuple[dict[str, Any] | None, list[Reason]]:
    """The trainer's manifest, {} where there is none; the files it names must be as it says."""
    file = path / MANIFEST
    if not file.is_file():
        return {}, []
    try:
        body = documents.read(file)
        files = body.get("files", {})
        changed = [name for name, digest in files.items() if not _unchanged(path / Path(name).name, digest)]
    except (OSError, ValueError, AttributeError) as error:
        return None, [Reason("manifest_damaged", f"{MANIFEST} cannot be read: {error}", _PUBLISH)]
    if changed:
        return None, [Reason("manifest_mismatch", f"changed or missing since {MANIFEST} was written: {', '.join(sorted(changed)[:5])}", _PUBLISH)]
    return body, []


def check_base(config: PeftConfig | None, manifest: Mapping[str, Any], base: BaseIdentity) -> tuple[None, list[Reason]]:
    """Same architecture and weights by the manifest's hashes, or the same name by adapter_config.json."""
    remedy = f"train on {base.name}, or add it to an engine that serves its base"
    if manifest.get("base"):
        try:
            made_for = from_dict(manifest["base"])
        except (DataError, TypeError, ValueError) as error:
            return None, [Reason("manifest_damaged", str(error), _PUBLISH)]
        parts = [what for what in ("architecture", "config", "weights") if getattr(made_for, what) != getattr(base, what)]
        if parts:
            return None, [Reason("base_mismatch", f"trained on {made_for.name}, whose {', '.join(parts)} differ from the engine's {base.name}", remedy)]
        return None, []
    if config is None:
        return None, []
    if config.base_name is None:
        return None, [Reason("base_unknown", "adapter_config.json does not say which base it was trained on", "set base_model_name_or_path to the base's name")]
    if _bare(config.base_name) != _bare(base.name):
        return None, [Reason("base_mismatch", f"trained on {config.base_name}, the engine serves {base.name}", remedy)]
    if config.revision is not None and not (base.revision and base.revision.startswith(config.revision)):
        said = f"trained on revision {config.revision}, the engine serves {base.revision or 'one that it does not name'}"
        return None, [Reason("base_revision", said, "serve that revision; or leave `revision` out of adapter_config.json if they are the same weights")]
    return None, []


def check_tokenizer(path: Path, manifest: Mapping[str, Any], base: BaseIdentity) -> tuple[None, list[Reason]]:
    """The base's tokenizer and chat template are used for every adapter: one trained with others would be asked in a language it does not know."""
    try:
        made_with = manifest.get("base") or {"tokenizer": tokenizer_hash(path), "template": template_hash(path)}
    except DataError as error:
        return None, [Reason("tokenizer_damaged", error.message, "save the tokenizer again, or leave it out of the directory")]
    reasons = []
    if not made_with.get("tokenizer") and (path / "added_tokens.json").is_file():
        said = "added_tokens.json names tokens of its own, and without tokenizer.json it cannot be seen whether the base has them"
        reasons.append(Reason("added_tokens", said, "save the fast tokenizer along; or leave added_tokens.json out if it was trained without new tokens"))
    if made_with.get("tokenizer") and made_with["tokenizer"] != base.tokenizer:
        reasons.append(Reason("tokenizer_mismatch", "it was trained with another tokenizer than the base's", f"train with the tokenizer of {base.name}"))
    if made_with.get("template") and made_with["template"] != base.template:
        remedy = f"train with the chat template of {base.name}, or serve that base with this template"
        reasons.append(Reason("template_mismatch", "it was trained with another chat template than the base's", remedy))
    return None, reasons


def _unchanged(path: Path, digest: object) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _bare(name: str) -> str:
    return _PACKING.sub("", name.rstrip("/").rpartition("/")[2].lower())
