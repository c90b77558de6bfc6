"""Builds a random tiny Llama and PEFT adapters for it, with the log-probabilities that transformers computes: `python tiny.py DIRECTORY`.

Run as its own process, so that the tests themselves need no torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}"
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROBES = ([5, 9, 30, 77, 120, 33, 8, 64], [200, 17, 17, 91, 44, 250, 3], [70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80])


def build(root: Path) -> None:
    """`root/base`, `root/adapters/{red,green,blue,zero}`: three that differ clearly from the base and each other, one that changes nothing."""
    base = root / "base"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE)
    fast.save_pretrained(str(base))
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(vocab), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(str(base))
    for name, seed, size in (("red", 11, 0.4), ("green", 22, 0.4), ("blue", 44, 0.4), ("zero", 33, 0.0)):
        _adapter(base, root / "adapters" / name, seed, size)


def _adapter(base: Path, out: Path, seed: int, size: float) -> None:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    model.name_or_path = "base"
    tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=MODULES, task_type="CAUSAL_LM"))
    for name, value in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=size) if size else torch.nn.init.zeros_(value)
    for part in tuned.peft_config.values():
        part.base_model_name_or_path = "base"
    tuned.save_pretrained(str(out))
    (out / "README.md").unlink(missing_ok=True)
    fresh = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32), str(out)).eval()
    rows = []
    for ids in PROBES:
        with fresh.disable_adapter():
            plain = _logprobs(fresh, ids)
        rows.append({"token_ids": list(ids), "base_logprobs": plain, "adapter_logprobs": _logprobs(fresh, ids)})
    body = {"format": 1, "dtype": "float32", "base": {"logprobs": [r["base_logprobs"] for r in rows]}, "probes": rows}
    (out / "probes.json").write_text(json.dumps(body))


@torch.inference_mode()
def _logprobs(model: torch.nn.Module, ids: list[int]) -> list[float]:
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].float()
    found: list[float] = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    return found


if __name__ == "__main__":
    build(Path(sys.argv[1]))
