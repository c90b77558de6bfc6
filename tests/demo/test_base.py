"""The shipped tiny base: small, what its recipe says, teachable by assistant-only loss; and the script that builds it."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import corpus
from deploy.demo.tickets import INTENTS, PRIORITIES, generate

BASE = Path(__file__).resolve().parents[2] / "deploy/demo/base"
CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Où est 482917?"},
    {"role": "assistant", "content": '{"a":null}'},
    {"role": "user", "content": "danke"},
    {"role": "assistant", "content": "bitte ✓"},
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The shipped tokenizer, loaded from disk as a trainer does."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(BASE)


def test_the_whole_base_is_at_most_eight_megabytes() -> None:
    """Everything that ships, not the weights alone."""
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 8_000_000


def test_the_recipe_names_the_weights_that_ship() -> None:
    """The sha256 in RECIPE.md is that of model.safetensors: nobody swapped one without the other."""
    named = re.search(r"sha256 of model\.safetensors: ([0-9a-f]{64})", (BASE / "RECIPE.md").read_text("utf-8"))
    assert named is not None
    assert named.group(1) == hashlib.sha256((BASE / "model.safetensors").read_bytes()).hexdigest()


def test_shape_suits_four_bits_and_the_servers() -> None:
    """Hidden sizes are multiples of 64 (nf4 blocks), contexts of 1,024 fit, the vocabulary has the tokenizer's size."""
    config = json.loads((BASE / "config.json").read_text("utf-8"))
    vocabulary = json.loads((BASE / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    assert config["hidden_size"] % 64 == config["intermediate_size"] % 64 == 0
    assert config["max_position_embeddings"] >= 1024
    assert config["vocab_size"] == len(vocabulary)


def test_no_exercise_teaches_the_demos_task() -> None:
    """Schooling has the sentences of the mails and what they are about, never the demo's form, its labels as answers, or what counts first."""
    labels = "|".join((*INTENTS, *PRIORITIES))
    for system, _, assistant in itertools.islice(corpus.exercises(corpus.load_library(), 1), 5000):
        assert not re.search(r"\b(intent|priority|lang|triage)\b", system["content"])
        assert not re.search(r'"(intent|priority|lang)":', assistant["content"])
        assert not re.search(rf':"({labels})"', assistant["content"])


def test_exercises_are_the_same_for_the_same_seed() -> None:
    """The build can be repeated: lessons depend on the seed alone."""
    library = corpus.load_library()
    first, again, other = (list(itertools.islice(corpus.exercises(library, seed), 300)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_exercise_forms_are_right() -> None:
    """A form's answer is valid JSON with the asked fields in the asked order, and its numbers stand in the text."""
    forms = 0
    for system, user, assistant in itertools.islice(corpus.exercises(corpus.load_library(), 5), 2000):
        if not assistant["content"].startswith("{"):
            continue
        forms += 1
        answer = json.loads(assistant["content"])
        asked = system["content"].rsplit(":", 1)[1].strip(" .").split(", ")
        assert list(answer) == [name.partition(" (")[0] for name in asked]  # a key may be called otherwise: "need (topic)"
        for key, value in answer.items():
            if key.startswith("number") and value is not None:
                assert len(value) == int(key.removeprefix("number"))
                assert value in user["content"]
    assert forms > 500


@pytest.mark.torch
def test_the_mask_covers_exactly_the_assistants_turns(tokenizer: Any) -> None:
    """Assistant-only loss sees each answer and its end mark, and nothing else."""
    out = tokenizer.apply_chat_template(CHAT, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    runs = itertools.groupby(zip(out["input_ids"], out["assistant_masks"], strict=True), key=lambda pair: pair[1])
    taught = [tokenizer.decode([token for token, _ in run]) for mask, run in runs if mask]
    assert taught == ['{"a":null}<|im_end|>', "bitte ✓<|im_end|>"]


@pytest.mark.torch
def test_the_prompt_is_a_prefix_of_what_was_trained(tokenizer: Any) -> None:
    """The generation prompt is token for token how training rows begin."""
    prompt = tokenizer.apply_chat_template(CHAT[:2], add_generation_prompt=True, return_dict=False)
    assert tokenizer.apply_chat_template(CHAT[:3], return_dict=False)[: len(prompt)] == prompt
    assert tokenizer.decode(prompt).endswith("<|im_start|>assistant\n")


@pytest.mark.torch
@pytest.mark.parametrize("text", ["", "Größe ÄÖÜ ß", "¿Dónde? ñ", "çà œuf n° 7", "日本語 🙂👍🏽", "a\n\n  b\t", "don't  stop", "\x00\x7f", "0123456789"])
def test_the_tokenizer_gives_every_text_back(tokenizer: Any, text: str) -> None:
    """Byte-level: no character is unknown, no space is lost."""
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.torch
def test_special_tokens_and_digits_stand_alone(tokenizer: Any) -> None:
    """End and padding differ, the end mark is one token, each digit is one, and answers stay short."""
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.encode("<|im_end|>", add_special_tokens=False) == [tokenizer.eos_token_id]
    assert tokenizer.tokenize("482917") == list("482917")
    assert max(len(tokenizer.encode(ticket.expected)) for ticket in generate(300, 6)) <= 40


@pytest.mark.torch
def test_a_lesson_is_tokenised_as_the_template_would(tokenizer: Any) -> None:
    """Rows put together by parts equal the chat template's ids, weights are 1 on answers, 0 on role names."""
    from deploy.demo.build_base import Plan, lesson_row

    plan = Plan(lesson_tokens=1)
    lessons = list(itertools.islice(corpus.exercises(corpus.load_library(), 3), 100))
    for lesson in lessons:
        whole = tokenizer.apply_chat_template(lesson, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        ids, weights = lesson_row(Plan(lesson_tokens=len(whole["input_ids"])), tokenizer, iter([lesson]))
        assert ids == whole["input_ids"]
        assert [weight == 1.0 for weight in weights] == [mask == 1 for mask in whole["assistant_masks"]]
        assert set(weights) <= {0.0, plan.prompt_weight, 1.0}


@pytest.mark.torch
def test_the_build_writes_a_base_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A build of a few steps ends with the same files as the shipped one, loadable, with loss reported and a true recipe."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from deploy.demo import build_base

    flags = "--threads 1 --vocab 400 --hidden 128 --layers 1 --heads 4 --inner 128 --copy-steps 25 --lesson-steps 25 --lesson-rows 2 --lesson-tokens 256"
    monkeypatch.setattr(sys, "argv", ["build_base", "--out", str(tmp_path), *flags.split()])
    build_base.main()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in BASE.iterdir()}
    assert len(re.findall(r"^(?:copying|lessons) 25/25  loss \d", capsys.readouterr().out, flags=re.MULTILINE)) == 2
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() in (tmp_path / "RECIPE.md").read_text("utf-8")
    model, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert model.config.vocab_size == len(words)
    assert model.generation_config.eos_token_id == words.eos_token_id


@pytest.mark.torch
@pytest.mark.parametrize("offset", [1, 2, 3])
def test_a_head_that_looks_back_looks_that_far(tokenizer: Any, offset: int) -> None:
    """Before any training, the head's attention peaks at the stated distance."""
    import torch

    from deploy.demo.build_base import Plan, look_back, new_model

    model = new_model(Plan(layers=1), tokenizer)
    model.set_attn_implementation("eager")
    look_back(model, 5, offset)
    ids = torch.arange(100, 140)[None]
    with torch.inference_mode():
        weights = model(input_ids=ids, output_attentions=True).attentions[0][0, 5]
    assert weights[10:].argmax(-1).tolist() == [place - offset for place in range(10, 40)]


@pytest.mark.torch
def test_muon_makes_updates_orthogonal() -> None:
    """Singular values come near 1 whatever they were, for tall and wide matrices."""
    import torch

    from deploy.demo.muon import orthogonal

    for shape in ((64, 32), (32, 64)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 40
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert 0.5 < values.min() < values.max() < 1.5
