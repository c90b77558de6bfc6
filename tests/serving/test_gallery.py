"""The gallery of bad adapters. Each is a good one with one thing changed, goes the whole way in (`intake.add`), and is refused for the right reason with a
remedy; the live version, its files and the registry are as before. `row` names what vLLM does with such an adapter: it loads it with 200, or worse.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from router.errors import AdapterRefused
from serving import registry
from serving.admission import Limits
from serving.database import reading, writing
from serving.intake import Intake, add
from serving.verbs import Change
from tests.serving.making import LAYERS, SHAPES, TEMPLATE, TOKENIZER, Tensors, change, floats, lora, make_adapter, make_base, make_database, safetensors

WEIGHTS = "adapter_model.safetensors"
Q, DOWN = "base_model.model.model.layers.0.self_attn.q_proj", "base_model.model.model.layers.1.mlp.down_proj"
Spoil = Callable[[Path], object]


def config(**changes: Any) -> Spoil:
    return lambda path: change(path / "adapter_config.json", lambda body: body.update(changes))


def text(old: str, new: str) -> Spoil:
    """Change the text of adapter_config.json, to something no JSON library would write."""

    def spoil(path: Path) -> None:
        body = (path / "adapter_config.json").read_text()
        assert old in body
        (path / "adapter_config.json").write_text(body.replace(old, new))

    return spoil


def weights(tensors: Tensors) -> Spoil:
    return lambda path: safetensors(path / WEIGHTS, tensors)


def both(*spoils: Spoil) -> Spoil:
    return lambda path: [spoil(path) for spoil in spoils]


def file(name: str, content: bytes | str) -> Spoil:
    return lambda path: (path / name).write_bytes(content.encode() if isinstance(content, str) else content)


def put(name: str, values: Callable[[list[float]], list[float]]) -> Spoil:
    dtype, shape, raw = lora()[name]
    return weights({**lora(), name: (dtype, shape, floats(values(list(struct.unpack(f"<{math.prod(shape)}f", raw)))))})


def head(edit: Callable[[dict[str, Any]], None], length: int | None = None) -> Spoil:
    """Change the header of the weights and leave their bytes; `length` is what the file says of its header."""

    def spoil(path: Path) -> None:
        raw = (path / WEIGHTS).read_bytes()
        size = int.from_bytes(raw[:8], "little")
        body = json.loads(raw[8 : 8 + size])
        edit(body)
        made = json.dumps(body).encode()
        (path / WEIGHTS).write_bytes((len(made) if length is None else length).to_bytes(8, "little") + made + raw[8 + size :])

    return spoil


def overlap(body: dict[str, Any]) -> None:
    """Two tensors in the same bytes."""
    names = [name for name in body if name != "__metadata__"]
    same = next((a, b) for a in names for b in names if a != b and body[a]["shape"] == body[b]["shape"])
    body[same[0]]["data_offsets"] = body[same[1]]["data_offsets"]


def twice(path: Path) -> None:
    """A header that names a tensor twice."""
    raw = (path / WEIGHTS).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    entry = json.dumps({Q + ".lora_A.weight": json.loads(raw[8 : 8 + size])[Q + ".lora_A.weight"]})[1:-1]
    made = raw[8 : 8 + size - 1] + b", " + entry.encode() + b"}"
    (path / WEIGHTS).write_bytes(len(made).to_bytes(8, "little") + made + raw[8 + size :])


def bomb(path: Path) -> None:
    """A header of nine megabytes."""
    made = b'{"__metadata__": {"x": "' + b"a" * (9 << 20) + b'"}}'
    (path / WEIGHTS).write_bytes(len(made).to_bytes(8, "little") + made)


def pickled(path: Path) -> None:
    (path / WEIGHTS).unlink()
    (path / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")


def cut(path: Path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-100])


def linked(path: Path) -> None:
    (path.parents[1] / "secret").write_text("x")
    (path / "notes.txt").symlink_to(path.parents[1] / "secret")


def without(part: str) -> Spoil:
    return weights({k: v for k, v in lora().items() if part not in k})


def renamed(old: str, new: str) -> Spoil:
    return weights({k.replace(old, new): v for k, v in lora().items()})


SMALLER = {k: (a // 2, b // 2) for k, (a, b) in SHAPES.items()}
NARROWER = {**SHAPES, "down_proj": (16, 20), "up_proj": (20, 16), "gate_proj": (20, 16)}
ZERO_B = {k: (d, s, bytes(len(raw)) if "lora_B" in k else raw) for k, (d, s, raw) in lora().items()}
INT8 = {k: ("I8", s, bytes(math.prod(s))) for k, (_, s, _raw) in lora().items()}
DEEP = {f"base_model.model.model.layers.99.mlp.up_proj.lora_{half}.weight": lora()[Q + f".lora_{half}.weight"] for half in "AB"}
EMBEDDING = ("F32", (65, 16), floats([0.1] * 65 * 16))
UNEVEN = {**lora(), **{k: v for k, v in lora(rank=64).items() if ".q_proj." in k}}
NAMED = json.dumps({"chat_template": [{"name": "default", "template": "x"}]})
OTHER_WORDS = json.dumps({"model": {"vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}})
MORE_WORDS = json.dumps({**TOKENIZER, "added_tokens": [{"id": 3, "content": "<s>"}, {"id": 64, "content": "<tool>"}]})


@dataclass(frozen=True)
class Bad:
    """One exhibit: what is wrong, how, and the reason it must be refused for. `row`: its row in the table of what vLLM 0.32 accepts with 200."""

    name: str
    spoil: Spoil
    code: str
    row: str = ""


BAD = (
    Bad("another base by name", config(base_model_name_or_path="someone/else"), "base_mismatch", "base_model_name_or_path naming another model"),
    Bad("another revision of the base", config(revision="deadbeef"), "base_revision", "revision deadbeef"),
    Bad("no word on the base", config(base_model_name_or_path=None), "base_unknown"),
    Bad("a smaller base of the same architecture", weights(lora(shapes=SMALLER)), "shape", "smaller model"),
    Bad("a base with narrower MLPs", weights(lora(shapes=NARROWER)), "shape", "smaller intermediate"),
    Bad("a shallower base", weights(lora(layers=LAYERS - 1)), "incomplete", "fewer layers"),
    Bad("a deeper base", weights(lora(layers=LAYERS + 1)), "shape", "more layers"),
    Bad("weights for layer 99", weights({**lora(), **DEEP}), "shape", "weights for layer 99"),
    Bad("transposed", weights({k: (d, s[::-1], raw) for k, (d, s, raw) in lora().items()}), "rank_mismatch"),
    Bad("A and B swapped", weights({k.translate(str.maketrans("AB", "BA")): v for k, v in lora().items()}), "rank_mismatch"),
    Bad("NaN everywhere", weights({k: (d, s, floats([math.nan] * math.prod(s))) for k, (d, s, _) in lora().items()}), "not_finite", "NaN everywhere"),
    Bad("one NaN in one B", put(DOWN + ".lora_B.weight", lambda v: [math.nan, *v[1:]]), "not_finite", "one single NaN in one B matrix"),
    Bad("one infinity", put(DOWN + ".lora_A.weight", lambda v: [*v[:-1], math.inf]), "not_finite", "Inf"),
    Bad("lora_alpha of a milliard", config(lora_alpha=1e9), "out_of_range", "lora_alpha 1e9"),
    Bad("weights a million times too large", weights(lora(size=1e5)), "out_of_range", "weights ×1e6"),
    Bad("int8 weights", weights(INT8), "dtype", "int8 weights"),
    Bad("8-bit floats", weights({k: ("F8_E4M3", s, bytes(math.prod(s))) for k, (_, s, _raw) in lora().items()}), "dtype"),
    Bad("zero B", weights(ZERO_B), "no_effect", "zero B"),
    Bad("lora_alpha 0", config(lora_alpha=0), "alpha", "lora_alpha 0"),
    Bad("another key prefix", renamed("base_model.model.model.", "base_model.model.transformer."), "unknown_weights", "wrong key prefix"),
    Bad("no key prefix", renamed("base_model.model.", ""), "unknown_weights", "prefix base_model.model. missing"),
    Bad("an uncleaned state dict", renamed(".lora_A.weight", ".lora_A.default.weight"), "unknown_weights"),
    Bad("one A missing", without(Q + ".lora_A"), "pair_incomplete", "lora_A missing for one module"),
    Bad("one B missing", without(Q + ".lora_B"), "pair_incomplete"),
    Bad("a module missing in one layer", without(Q), "incomplete"),
    Bad("r below the weights' rank", config(r=2), "rank_mismatch", "config r=4 with r=8 weights"),
    Bad("r above the weights' rank", config(r=8), "rank_mismatch", "config r=16 with r=8 weights"),
    Bad("IA3", config(peft_type="IA3"), "peft_type", "peft_type IA3"),
    Bad("fan_in_fan_out", config(fan_in_fan_out=True), "fan_in_fan_out", "fan_in_fan_out true"),
    Bad("an unknown target module", config(target_modules=[*sorted(SHAPES), "w_unknown"]), "target_modules", "target_modules naming an unknown module"),
    Bad("LoRA on embeddings and head", config(target_modules=["q_proj", "embed_tokens", "lm_head"]), "target_modules", "embed_tokens / lm_head as target"),
    Bad("pickled weights", pickled, "pickle", "pickle .bin (benign)"),
    Bad("a pickle beside the weights", file("adapter_model.bin", b"\x80\x02}."), "pickle", "safetensors wins if both"),
    Bad("float16 that overflowed", weights({k: ("F16", s, b"\x00\x7c" * math.prod(s)) for k, (_, s, _raw) in lora().items()}), "not_finite", "fp16"),
    Bad("rank above the engine's", both(config(r=64), weights(lora(rank=64))), "rank_too_high"),
    Bad("rank_pattern above the engine's", both(config(rank_pattern={"q_proj": 64}), weights(UNEVEN)), "rank_too_high"),
    Bad("rank_pattern that is a program", config(rank_pattern={"(a+)+$": 4}), "rank_pattern"),
    Bad("DoRA", config(use_dora=True), "dora"),
    Bad("bias", config(bias="all"), "bias"),
    Bad("lora_bias", config(lora_bias=True), "bias"),
    Bad("modules_to_save", config(modules_to_save=["lm_head"]), "modules_to_save"),
    Bad("PiSSA", config(init_lora_weights="pissa_niter_16"), "init"),
    Bad("OLoRA", config(init_lora_weights="olora"), "init"),
    Bad("activated LoRA", config(alora_invocation_tokens=[1, 2]), "alora"),
    Bad("KaSA", config(kasa_config={"beta": 1}), "variant"),
    Bad("trained token embeddings", config(trainable_token_indices=[3]), "trainable_tokens"),
    Bad("embeddings resized for added tokens", weights({**lora(), "base_model.model.model.embed_tokens.weight": EMBEDDING}), "embeddings"),
    Bad("another tokenizer", file("tokenizer.json", OTHER_WORDS), "tokenizer_mismatch"),
    Bad("a tokenizer with added tokens", file("tokenizer.json", MORE_WORDS), "tokenizer_mismatch"),
    Bad("added tokens without their tokenizer", file("added_tokens.json", '{"<tool>": 64}'), "added_tokens"),
    Bad("another chat template", file("chat_template.jinja", "{{ other }}"), "template_mismatch"),
    Bad("another template in tokenizer_config.json", file("tokenizer_config.json", NAMED), "template_mismatch"),
    Bad("no configuration", lambda path: (path / "adapter_config.json").unlink(), "config_missing"),
    Bad("no weights", lambda path: (path / WEIGHTS).unlink(), "weights_missing"),
    Bad("weights cut off", cut, "weights_damaged"),
    Bad("an empty weights file", file(WEIGHTS, b""), "weights_damaged"),
    Bad("a header larger than its file", head(lambda _: None, length=1 << 62), "weights_damaged"),
    Bad("a header bomb", bomb, "weights_damaged"),
    Bad("a header nested a hundred thousand deep", file(WEIGHTS, (200_000).to_bytes(8, "little") + b"[" * 200_000), "weights_damaged"),
    Bad("overlapping tensors", head(overlap), "weights_damaged"),
    Bad("a tensor twice", twice, "weights_damaged"),
    Bad("a shape that is not one", head(lambda b: b[Q + ".lora_A.weight"].update(shape=[True, 64])), "weights_damaged"),
    Bad("metadata that are no texts", head(lambda b: b.update(__metadata__={"format": 1})), "weights_damaged"),
    Bad("a key twice in the configuration", text('"r": 4', '"r": 4, "r": 64'), "config_damaged"),
    Bad("NaN in the configuration", text('"lora_alpha": 8', '"lora_alpha": NaN'), "config_damaged"),
    Bad("a configuration nested too deeply", file("adapter_config.json", "[" * 100_000), "config_damaged"),
    Bad("lora_alpha as a text", config(lora_alpha="16"), "alpha"),
    Bad("use_rslora as a text", config(use_rslora="false"), "config_type"),
    Bad("layers that are no numbers", config(layers_to_transform=["0"]), "layers_to_transform"),
    Bad("a pattern of excluded modules", config(exclude_modules="(a+)+$"), "exclude_modules"),
    Bad("a manifest with a key twice", file("breakeven.json", '{"files": {}, "files": {"x": "0"}}'), "manifest_damaged"),
    Bad("files changed after publishing", file("breakeven.json", json.dumps({"files": {"adapter_config.json": "0" * 64}})), "manifest_mismatch"),
    Bad("a link out of the import roots", linked, "symlink"),
    Bad("a pipe", lambda path: os.mkfifo(path / "pipe"), "not_a_file"),
    Bad("six gigabytes", lambda path: os.truncate(path / WEIGHTS, 6 << 30), "too_large"),
    Bad("a thousand files", lambda path: [(path / f"{n}.json").touch() for n in range(300)], "too_large"),
)  # fmt: skip

# Every row of the table of wrong adapters that vLLM 0.32 loads with 200. The last two are right as they are: they must pass (below).
ROWS = {
    "smaller model", "smaller intermediate", "fewer layers", "more layers", "weights for layer 99", "NaN everywhere", "one single NaN in one B matrix", "Inf",
    "lora_alpha 1e9", "weights ×1e6", "int8 weights", "zero B", "lora_alpha 0", "wrong key prefix", "prefix base_model.model. missing",
    "lora_A missing for one module", "config r=4 with r=8 weights", "config r=16 with r=8 weights", "base_model_name_or_path naming another model",
    "revision deadbeef", "peft_type IA3", "fan_in_fan_out true", "target_modules naming an unknown module", "pickle .bin (benign)", "safetensors wins if both",
    "embed_tokens / lm_head as target", "fp16", "fp32 / fp64 / bf16 weights", "rank 12, rank_pattern, rslora, q/v only",
}  # fmt: skip


@dataclass
class World:
    """An engine with one adapter, `support`, whose version 1 is live."""

    directory: Path
    database: Engine
    into: Intake

    def add(self, path: Path | str) -> int:
        return add(self.database, self.into, "support", str(path), "me", 2.0).version

    def refused(self, path: Path | str) -> dict[str, str]:
        """Reason -> remedy of an adapter that must not go in."""
        with pytest.raises(AdapterRefused) as caught:
            self.add(path)
        return {reason.code: reason.remedy for reason in caught.value.reasons}

    def state(self) -> tuple[object, ...]:
        """All that a refusal must leave alone."""
        home = self.directory / "data" / "adapters"
        files = sorted((str(p), p.read_bytes()) for p in home.rglob("*") if p.is_file())
        with reading(self.database) as conn:
            return registry.views(conn), registry.stages(conn), registry.audit(conn, "support"), files, sorted(home.iterdir())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("gallery")
    database = make_database(root)
    base = make_base(root / "base")
    made = World(root, database, Intake("local", str(base), managed=True, limits=Limits(16), roots=(root / "in",), data_dir=root / "data", cache=root / "hub"))
    assert made.add(make_adapter(root / "in" / "good", lora(seed=2))) == 1
    with writing(database) as conn:
        registry.request(conn, Change("promote", "support", 1), {"triage": False}, 1.0)
        registry.saw(conn, ("local", 0), ("support", 1), "verified", "", 1.0)
        registry.apply(conn, {"local": frozenset({0})}, {"support": {"triage": False}}, 1.0)
        assert registry.view(conn, "support").live == 1
    yield made
    database.dispose()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_adapter_stays_out(world: World, tmp_path: Path, bad: Bad) -> None:
    """Refused for its reason, with a remedy; nothing in registry, files or live version has changed."""
    path = make_adapter(world.directory / "in" / tmp_path.name)
    bad.spoil(path)
    before = world.state()
    found = world.refused(path)
    assert bad.code in found, found
    assert all(found.values())
    assert len(found) <= 3  # for its reason, not for everything
    assert world.state() == before


def test_every_way_out_of_the_import_roots_is_closed(world: World) -> None:
    """Dots, absolute paths, links, files, places that are not there: the path is looked at after all links were followed."""
    (world.directory / "in" / "out").symlink_to(world.directory / "base")
    outside = make_adapter(world.directory / "outside")
    before = world.state()
    for path, code in (
        (world.directory / "in" / ".." / "outside", "outside_roots"),
        (outside, "outside_roots"),
        ("/etc", "outside_roots"),
        (world.directory / "in" / "out", "outside_roots"),
        (world.directory / "in" / "good" / WEIGHTS, "not_a_directory"),
        (world.directory / "in" / "nothing", "not_found"),
        ("in\0side", "not_found"),
    ):
        assert set(world.refused(path)) == {code}, path
    assert world.state() == before


# What trainers leave in their output directory beside the adapter itself.
BESIDE: dict[str, dict[str, str]] = {
    "PEFT": {"README.md": "---\nlibrary_name: peft\n---\n"},
    "TRL": {"README.md": "# Model Card", "training_args.bin": "pickle", "tokenizer.json": json.dumps(TOKENIZER), "chat_template.jinja": TEMPLATE},
    "axolotl": {
        "README.md": "", "config.json": "{}", "tokenizer.json": json.dumps(TOKENIZER, indent=2), "tokenizer_config.json": "{}", "debug.log": "step 1",
        "special_tokens_map.json": "{}", "checkpoint-120/optimizer.pt": "pickle", "checkpoint-120/adapter_model.safetensors": "x", "tokens_state.json": "{}",
    },
    "Unsloth": {
        "README.md": "", "tokenizer.json": json.dumps(TOKENIZER), "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE}),
        "special_tokens_map.json": "{}", "added_tokens.json": '{"<s>": 3}', "tokenizer.model": "spm",
    },
    "LLaMA-Factory": {
        "README.md": "", "all_results.json": "{}", "train_results.json": "{}", "trainer_log.jsonl": "{}", "trainer_state.json": "{}", "training_loss.png": "x",
        "training_args.bin": "pickle", "tokenizer.json": json.dumps(TOKENIZER), "chat_template.jinja": TEMPLATE + "\n", "checkpoint-500/scheduler.pt": "pickle",
        "optimizer.pt": "pickle", "scheduler.pt": "pickle", "rng_state.pth": "pickle", "optimizer.bin": "pickle", "random_states_0.pkl": "pickle",
        "zero_to_fp32.py": "import os", "latest": "global_step500",
    },
}  # fmt: skip


@pytest.mark.parametrize("trainer", BESIDE)
def test_directories_of_other_trainers_are_welcome(world: World, trainer: str) -> None:
    """They go in as they are; pickled state, checkpoints, logs and programs are neither read nor copied."""
    path = make_adapter(world.directory / "in" / trainer, lora(seed=sum(trainer.encode())), base_model_name_or_path="unsloth/Base-unsloth-bnb-4bit")
    for name, content in BESIDE[trainer].items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(content)
    number = world.add(path)
    with reading(world.database) as conn:
        version = registry.view(conn, "support").version(number)
    assert version is not None
    kept = {p.name for p in Path(version.path).rglob("*")}
    assert {"adapter_config.json", WEIGHTS} <= kept
    assert not any(name.endswith((".bin", ".pt", ".pth", ".pkl", ".py", ".log", ".png")) or name.startswith(("checkpoint", "trainer")) for name in kept)


@pytest.mark.parametrize(
    ("dtype", "more"),
    [("F32", {}), ("F64", {}), ("BF16", {}), ("F16", {}), ("F32", {"use_rslora": True}), ("F32", {"r": 12}), ("F32", {"exclude_modules": ["v_proj"]})],
)
def test_what_the_engine_serves_as_it_was_trained_goes_in(world: World, dtype: str, more: dict[str, Any]) -> None:
    """Four float types, rank-stabilised scale, ranks that are no powers of two, modules left out by name: row "fp32 / fp64 / bf16 weights" and the last."""
    shapes = {k: v for k, v in SHAPES.items() if k not in more.get("exclude_modules", ())}
    name = dtype + "".join(more)
    seed = sum(name.encode())
    assert world.add(make_adapter(world.directory / "in" / name, lora(rank=more.get("r", 4), dtype=dtype, shapes=shapes, seed=seed), **more)) > 1


def test_the_gallery_is_complete() -> None:
    """Every row of what vLLM accepts although it is wrong has its exhibit."""
    assert {bad.row for bad in BAD if bad.row} | {"fp32 / fp64 / bf16 weights", "rank 12, rank_pattern, rslora, q/v only"} == ROWS
    assert len({bad.name for bad in BAD}) == len(BAD) >= 25
