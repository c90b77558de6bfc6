"""Whether an adapter directory may go in: every reason why not, found without loading it into an engine. vLLM itself checks little of this
(docs/decisions): a wrong adapter loads with 200, and one NaN spoils the answers of others.

Public: `check(path, base, limits) -> Admission`. `base` is None where the engine's base model is not on this machine (`urls:` engines): shapes are then
unchecked, and `Admission.checks` says so. Not here: where it may come from and the copy (storage.py), comparing answers (verify.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.errors import DataError, Reason
from serving.base import MODULES, BaseIdentity
from serving.peft import PeftConfig, read_config
from serving.provenance import check_base, check_tokenizer, read_manifest
from serving.tensors import READABLE, Tensor, header, scan

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.model\.layers\.(\d{1,4})\.(?:self_attn|mlp)\.(\w+)\.lora_([AB])\.weight")
_VOCABULARY = re.compile(r"\.(?:embed_tokens|lm_head)\.")
# An element of B·A·scale cannot exceed rank · max|A| · max|B| · scale. Trained adapters stay below 10; weights are about 0.02.
MOST_UPDATE = 1_000.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine can take: `max_rank` as configured, `max_bytes` of weights."""

    max_rank: int = 32
    max_bytes: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Admission:
    """The verdict: no reasons means admitted. `checks` maps each check to "passed", "failed" or why it was not made; `manifest` is the trainer's, or empty."""

    reasons: tuple[Reason, ...]
    checks: Mapping[str, str]
    manifest: Mapping[str, Any] = field(default_factory=dict)


def check(path: Path, base: BaseIdentity | None, limits: Limits) -> Admission:
    """Every reason why the adapter in directory `path` may not be served on `base`."""
    made = _Checks()
    config = made.run("config", lambda: read_config(path / CONFIG, limits.max_rank))
    manifest = made.run("manifest", lambda: read_manifest(path)) or {}
    if base is None:
        made.skip("base", "the engine's base model is not on this machine")
        made.skip("tokenizer", "the engine's base model is not on this machine")
    else:
        made.run("base", lambda: check_base(config, manifest, base))
        made.run("tokenizer", lambda: check_tokenizer(path, manifest, base))
    tensors = made.run("weights", lambda: _header(path / WEIGHTS, limits.max_bytes))
    if config is None or tensors is None:
        return made.verdict(manifest)
    pairs = made.run("modules", lambda: _pairs(tensors))
    if pairs is not None:
        made.run("rank", lambda: _ranks(pairs, config, limits.max_rank))
        if base is None or not base.shapes:
            made.skip("shapes", "the engine's base model is not on this machine")
        else:
            made.run("shapes", lambda: _shapes(pairs, base))
        made.run("complete", lambda: _complete(pairs, config, None if base is None else base.layers))
        made.run("values", lambda: _values(path / WEIGHTS, pairs, config))
    return made.verdict(manifest)


class _Checks:
    """Runs checks one after another and keeps what each said: a check yields reasons, or returns a value beside them."""

    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self.checks: dict[str, str] = {}

    def run(self, name: str, make: Any) -> Any:
        """The check's value, None when it failed."""
        value, reasons = make()
        found = tuple(reasons)
        self.reasons += found
        self.checks[name] = "failed" if found else "passed"
        return None if found else value

    def skip(self, name: str, why: str) -> None:
        """This check was not made."""
        self.checks[name] = f"unchecked: {why}"

    def verdict(self, manifest: Mapping[str, Any]) -> Admission:
        return Admission(tuple(self.reasons), self.checks, manifest)


Place = tuple[int, str]
Pairs = Mapping[Place, tuple[Tensor, Tensor]]


def _header(path: Path, most: int) -> tuple[tuple[Tensor, ...] | None, list[Reason]]:
    if not path.is_file():
        return None, [Reason("weights_missing", f"there is no {WEIGHTS}", "save the adapter with save_pretrained(..., safe_serialization=True)")]
    if path.stat().st_size > most:
        return None, [Reason("too_large", f"{WEIGHTS} has {path.stat().st_size} bytes, more than {most}", "train with a lower rank or fewer modules")]
    try:
        found = header(path)
    except DataError as error:
        return None, [Reason("weights_damaged", error.message, "copy or save the adapter again")]
    wrong = sorted({t.dtype for t in found} - set(READABLE))
    if wrong:
        return None, [Reason("dtype", f"weights in {', '.join(wrong)} are not served as they were trained", "save the adapter in float32, bfloat16 or float16")]
    if not found:
        return None, [Reason("weights_empty", f"{WEIGHTS} holds no tensors", "save the adapter again")]
    return found, []


def _pairs(tensors: Iterable[Tensor]) -> tuple[Pairs, list[Reason]]:
    """The A and B of each (layer, module), or why the names do not form such pairs."""
    halves: dict[Place, dict[str, Tensor]] = {}
    unknown, resized, unservable = list[str](), list[str](), set[str]()
    for tensor in tensors:
        match = _KEY.fullmatch(tensor.name)
        if match is None:
            (resized if _VOCABULARY.search(tensor.name) else unknown).append(tensor.name)
        elif match[2] not in MODULES:
            unservable.add(match[2])
        else:
            halves.setdefault((int(match[1]), match[2]), {})[match[3]] = tensor
    reasons = []
    if unknown:
        remedy = "save it with PEFT's save_pretrained; LoRA on attention and MLP projections only (no embeddings, heads or extra modules)"
        reasons.append(Reason("unknown_weights", f"not weights of a LoRA on a decoder layer: {_some(unknown)}", remedy))
    if resized:
        said = f"it carries weights of the vocabulary: {_some(resized)}"
        reasons.append(Reason("embeddings", said, "train without added tokens, resized embeddings or LoRA on embed_tokens and lm_head"))
    if unservable:
        reasons.append(Reason("target_modules", f"modules that cannot be served: {_some(sorted(unservable))}", f"train {', '.join(MODULES)} only"))
    single = [f"layer {layer} {module}" for (layer, module), parts in sorted(halves.items()) if len(parts) == 1]
    if single:
        reasons.append(Reason("pair_incomplete", f"only one of lora_A and lora_B is there: {_some(single)}", "save the adapter again"))
    flat = [t.name for parts in halves.values() for t in parts.values() if len(t.shape) != 2]
    if flat:
        reasons.append(Reason("shape", f"not matrices: {_some(flat)}", "save the adapter again"))
    return {place: (parts["A"], parts["B"]) for place, parts in halves.items() if len(parts) == 2}, reasons


def _ranks(pairs: Pairs, config: PeftConfig, most: int) -> tuple[None, list[Reason]]:
    high, other = [], []
    for (layer, module), (a, b) in sorted(pairs.items()):
        rank, place = a.shape[0], f"layer {layer} {module}"
        if rank > most:
            high.append(f"{place}: {rank}")
        if rank != b.shape[1] or rank != config.rank_of(f"model.layers.{layer}.{_block(module)}.{module}"):
            other.append(f"{place}: A {list(a.shape)}, B {list(b.shape)}")
    reasons = []
    if high:
        reasons.append(Reason("rank_too_high", f"ranks above the engine's {most}: {_some(high)}", "train with a lower rank, or raise engines.X.max_lora_rank"))
    if other:
        reasons.append(
            Reason("rank_mismatch", f"the weights' rank is not the configuration's {config.rank}: {_some(other)}", "use the adapter_config.json saved with it")
        )
    return None, reasons


def _shapes(pairs: Pairs, base: BaseIdentity) -> tuple[None, list[Reason]]:
    wrong = []
    for (layer, module), (a, b) in sorted(pairs.items()):
        rows, columns = base.shapes[module]
        if layer >= base.layers:
            wrong.append(f"layer {layer} of a model with {base.layers}")
        elif a.shape[1] != columns or b.shape[0] != rows:
            wrong.append(f"layer {layer} {module}: made for {b.shape[0]} x {a.shape[1]}, the base has {rows} x {columns}")
    return None, [Reason("shape", f"made for another model than {base.name}: {_some(wrong)}", f"train on {base.name}")] if wrong else []


def _complete(pairs: Pairs, config: PeftConfig, layers: int | None) -> tuple[None, list[Reason]]:
    """Every target module in every layer: an adapter of a shallower model fits into a deeper one without complaint."""
    modules = config.targets or frozenset(module for _, module in pairs)
    depth = layers or 1 + max(layer for layer, _ in pairs)
    wanted = {(layer, module) for layer in config.layers or range(depth) for module in modules}
    wanted = {(layer, module) for layer, module in wanted if not config.excludes(f"model.layers.{layer}.{_block(module)}.{module}")}
    missing = [f"layer {layer} {module}" for layer, module in sorted(wanted - set(pairs))]
    extra = [f"layer {layer} {module}" for layer, module in sorted(set(pairs) - wanted)]
    reasons = []
    if missing:
        reasons.append(Reason("incomplete", f"weights are missing that adapter_config.json announces: {_some(missing)}", "train on this base, and save again"))
    if extra:
        reasons.append(
            Reason("unannounced", f"weights that adapter_config.json does not announce: {_some(extra)}", "use the adapter_config.json saved with it")
        )
    return None, reasons


def _values(path: Path, pairs: Pairs, config: PeftConfig) -> tuple[None, list[Reason]]:
    broken, huge, moves = [], [], False
    for (layer, module), (a, b) in sorted(pairs.items()):
        try:
            left, right = scan(path, a), scan(path, b)
        except DataError as error:
            return None, [Reason("weights_damaged", error.message, "copy or save the adapter again")]
        place = f"layer {layer} {module}"
        if not (left.finite and right.finite):
            broken.append(place)
            continue
        moves = moves or (left.largest > 0 and right.largest > 0)
        if left.largest * right.largest * a.shape[0] * config.scale_of(f"model.layers.{layer}.{_block(module)}.{module}") > MOST_UPDATE:
            huge.append(place)
    reasons = []
    if broken:
        reasons.append(Reason("not_finite", f"NaN or infinity in {_some(broken)}", "train again with a lower learning rate; nothing of this adapter is usable"))
    elif not moves:
        reasons.append(Reason("no_effect", "every lora_B (or lora_A) is zero: it answers exactly as the base", "train it, or serve the base itself"))
    if huge:
        reasons.append(Reason("out_of_range", f"updates far outside what weights are, in {_some(huge)}", "check lora_alpha and the learning rate"))
    return None, reasons


def _block(module: str) -> str:
    return "mlp" if module in {"gate_proj", "up_proj", "down_proj"} else "self_attn"


def _some(items: Iterable[str]) -> str:
    return ", ".join(_first(iter(items)))


def _first(items: Iterator[str]) -> Iterator[str]:
    for count, item in enumerate(items):
        if count == _SHOWN:
            yield f"and {1 + sum(1 for _ in items)} more"
            return
        yield item
