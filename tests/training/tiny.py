"""A random tiny Qwen2 with a byte tokenizer and a chat template, and a dataset it can learn: what the training tests train."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

MARKED = """{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
PLAIN = MARKED.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]


def tokenizer(template: str | None = MARKED, merges: list[tuple[str, str]] | None = None) -> Any:
    """A byte-level tokenizer with three special tokens; `merges` join bytes into longer tokens."""
    merges = merges or []
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*SPECIAL, *alphabet, *(a + b for a, b in merges)])}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=SPECIAL[0], eos_token=SPECIAL[2], chat_template=template)


def build_base(directory: Path) -> Path:
    """Save the base: two layers, width 64."""
    words = tokenizer()
    words.save_pretrained(str(directory))
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=2, pad_token_id=0, initializer_range=0.3,  # large, so that a random base has features to adapt
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(str(directory))
    return directory


def lines(n: int, seed: int = 0) -> list[str]:
    """Distinct one-turn conversations whose answer follows from the question."""
    rng = random.Random(seed)
    out = []
    for i in range(n):
        word = rng.choice(["refund", "delivery", "cancel"])
        question = f"{rng.randrange(10**6):06d} {word} please {i}"
        out.append(json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": f'{{"intent":"{word}"}}'}]}))
    return out


def write_recipe(directory: Path, base: Path, output: str = "out", **changes: Any) -> Path:
    """A recipe beside `data.jsonl`, small and with dropout, so that resuming must restore the random state too."""
    train = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "max_length": 128, "seed": 5} | changes.pop("train", {})
    lora = {"r": 4, "dropout": 0.1} | changes.pop("lora", {})
    body = {"name": "tiny", "base": str(base), "data": "data.jsonl", "lora": lora, "train": train, "output": output} | changes
    path = directory / f"{output}.yaml"
    path.write_text(json.dumps(body), encoding="utf-8")  # JSON is YAML
    if not (directory / "data.jsonl").exists():
        (directory / "data.jsonl").write_text("\n".join(lines(90)) + "\n", encoding="utf-8")
    return path
