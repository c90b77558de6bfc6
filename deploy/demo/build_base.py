"""Builds the demo's tiny base model from nothing: tokenizer, weights, chat template, recipe.

    python -m deploy.demo.build_base --out deploy/demo/base

Two stages: copying (repeated random tokens), then the generated exercises of ``corpus.py``. The demo's form and labels
are in neither. Not here: the exercises' content, the optimiser (``muon.py``), any fine-tuning.
"""

import argparse
import hashlib
import itertools
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a busy machine spinning threads steal from each other

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from deploy.demo import corpus, tickets
from deploy.demo.muon import Muon

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = """\
{%- for message in messages -%}
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


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the result depends on. Rates are peaks: linear warm-up, then linear decay in the lessons."""

    seed: int = 7
    vocab: int = 4096
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    inner: int = 512
    copy_steps: int = 260  # of 16 rows x 64 tokens
    copy_rate: float = 0.004
    lesson_steps: int = 1050
    lesson_rows: int = 8
    lesson_tokens: int = 320
    lesson_rate: float = 0.008
    embed_rate: float = 0.003
    prompt_weight: float = 0.3  # loss on what the user says, against 1 on the answers


def train_tokenizer(plan: Plan, library: corpus.Library) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every digit is a token of its own, so that numbers can be copied."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=plan.vocab,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    lessons = itertools.islice(corpus.exercises(library, plan.seed), 6000)
    taught = (message["content"] for lesson in lessons for message in lesson)
    # The vocabulary of a large model knows the words of a support mail whole; a tokenizer that has read only the lessons would not.
    mails = (ticket.text + ticket.expected for ticket in tickets.generate(6000, plan.seed))
    tokenizer.train_from_iterator(itertools.chain(taught, mails, [tickets.SYSTEM] * 50), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=1024, chat_template=TEMPLATE, clean_up_tokenization_spaces=False
    )


def new_model(plan: Plan, tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """Random weights, apart from four heads that look back one, one, two and three tokens."""
    config = Qwen2Config(
        vocab_size=plan.vocab,
        hidden_size=plan.hidden,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        num_key_value_heads=plan.heads,
        intermediate_size=plan.inner,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(plan.seed)
    model = Qwen2ForCausalLM(config)
    give_vectors(model)
    for head, offset in enumerate((1, 1, 2, 3)):
        look_back(model, head, offset)
    return model


def give_vectors(model: Qwen2ForCausalLM) -> None:
    """Random token vectors of length one, the same where a token is read and where it is written: copying appears sooner."""
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0.0, model.config.hidden_size**-0.5)
        model.lm_head.weight.copy_(model.model.embed_tokens.weight)


def look_back(model: Qwen2ForCausalLM, head: int, offset: int) -> None:
    """Point a head of the first layer at the token ``offset`` places back.

    The constant part (bias) of query and key, turned by rotary embedding, depends on distance alone; shifting the
    query's phase by ``offset`` puts the peak there. Copying grows on such heads; left to chance they take most
    of the build's time to appear (measured: twice the steps and more).
    """
    attention = model.model.layers[0].self_attn
    half = attention.head_dim // 2
    with torch.no_grad():
        query = attention.q_proj.bias.view(-1, 2 * half)[head]
        key = attention.k_proj.bias.view(-1, 2 * half)[head]
        for pair in range(half // 2):
            turn = offset * 10_000.0 ** (-pair / half)
            key[pair] = 6.5
            query[pair] = 6.5 * math.cos(turn)
            query[pair + half] = -6.5 * math.sin(turn)


def repeats(plan: Plan) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows that repeat a random stretch of 3 to 31 tokens drawn from 10 to 64 symbols; weight 1 from the second time on."""
    random = torch.Generator().manual_seed(plan.seed)
    rows, length, symbols = 16, 64, 64
    for _ in range(plan.copy_steps):
        period = torch.randint(3, length // 2, (rows, 1), generator=random)
        few = torch.randint(10, symbols + 1, (rows, 1), generator=random)
        # The first 64 bytes of the alphabet, digits among them: few symbols force matches longer than one token.
        stretch = (torch.rand(rows, length, generator=random) * few).long() + 3
        place = torch.arange(length)[None]
        yield stretch.gather(1, place % period), (place >= period).float()


def lessons(plan: Plan, tokenizer: PreTrainedTokenizerFast, library: corpus.Library) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows of whole exercises cut at ``lesson_tokens``, with a loss weight for each token."""
    source = corpus.exercises(library, plan.seed + 1)
    while True:
        rows = [lesson_row(plan, tokenizer, source) for _ in range(plan.lesson_rows)]
        yield torch.tensor([ids for ids, _ in rows]), torch.tensor([weights for _, weights in rows])


def lesson_row(plan: Plan, tokenizer: PreTrainedTokenizerFast, source: Iterator[list[corpus.Message]]) -> tuple[list[int], list[float]]:
    """One row: token ids and weights. Built by parts, which equals the chat template (asserted by the tests)."""
    encode = tokenizer.backend_tokenizer.encode
    ids: list[int] = []
    weights: list[float] = []
    while len(ids) < plan.lesson_tokens:
        for message in next(source):
            head, body, tail = (encode(part).ids for part in (f"{START}{message['role']}\n", message["content"] + END, "\n"))
            ids += head + body + tail
            weight = 1.0 if message["role"] == "assistant" else plan.prompt_weight
            weights += [0.0] * len(head) + [weight] * len(body) + [0.0] * len(tail)
    return ids[: plan.lesson_tokens], weights[: plan.lesson_tokens]


def _is_matrix(name: str, parameter: torch.Tensor) -> bool:
    """Whether Muon is for it: the two tables of token vectors are not matrices in its sense."""
    return parameter.ndim == 2 and "embed" not in name and "lm_head" not in name


class Teacher:
    """Model and optimisers; one call is one step."""

    def __init__(self, model: Qwen2ForCausalLM) -> None:
        matrices = [p for name, p in model.named_parameters() if _is_matrix(name, p)]
        rest = [p for name, p in model.named_parameters() if not _is_matrix(name, p)]
        self.model = model
        self.muon = Muon(matrices, lr=0.0)
        self.adam = torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], matrix_rate: float, rest_rate: float) -> float:
        """Learn one batch; returns the mean loss in nats over tokens of full weight, before the update."""
        ids, weights = batch
        logits = self.model(input_ids=ids).logits[:, :-1]
        losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weight = weights[:, 1:].flatten()
        ((losses * weight).sum() / weight.sum()).backward()
        self._spare_the_unwritten(ids[:, 1:].flatten()[weight > 0])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser, rate in ((self.muon, matrix_rate), (self.adam, rest_rate)):
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()
        return float(losses[weight == 1.0].mean().detach())

    def _spare_the_unwritten(self, targets: torch.Tensor) -> None:
        """Leave the output vectors of tokens that are not to be written in this batch alone.

        Every step pushes them away from whatever is being written, and Adam makes large steps of tiny gradients. Words the lessons never have written
        would all end in the same direction, and an adapter, which does not reach these vectors, could no longer write one rather than another.
        """
        gradient = self.model.lm_head.weight.grad
        if gradient is not None:
            gradient.mul_(torch.zeros(len(gradient), 1).index_fill_(0, targets.unique(), 1.0))


def pretrain(plan: Plan, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, library: corpus.Library) -> None:
    """Both stages, with a progress line every 25 steps."""
    teacher = Teacher(model)
    begun, worked = time.monotonic(), time.process_time()

    def report(stage: str, step: int, total: int, loss: float) -> None:
        spent = f"{time.monotonic() - begun:.0f} s, cpu {time.process_time() - worked:.0f} s"
        print(f"{stage} {step}/{total}  loss {loss:.3f}  {spent}", flush=True)

    mean = 0.0
    for step, batch in enumerate(repeats(plan), 1):
        warm = min(1.0, step / 20)
        loss = teacher.step(batch, warm * plan.copy_rate, warm * plan.embed_rate)
        mean = loss if step == 1 else 0.9 * mean + 0.1 * loss
        if step % 25 == 0:
            report("copying", step, plan.copy_steps, mean)
    for step, batch in enumerate(itertools.islice(lessons(plan, tokenizer, library), plan.lesson_steps), 1):
        share = min(1.0, step / 20, 2 * (1 + plan.lesson_steps - step) / plan.lesson_steps)
        loss = teacher.step(batch, share * plan.lesson_rate, share * plan.embed_rate)
        mean = loss if step == 1 else 0.9 * mean + 0.1 * loss
        if step % 25 == 0:
            report("lessons", step, plan.lesson_steps, mean)


def save(out: Path, plan: Plan, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write model (bfloat16), tokenizer and RECIPE.md with the weights' sha256."""
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    settings = "\n".join(f"- {name}: {value}" for name, value in asdict(plan).items())
    (out / "RECIPE.md").write_text(
        "# The demo's base model\n\n"
        f"A Qwen2 of {sum(p.numel() for p in model.parameters()):,} parameters, built from nothing by `deploy/demo/build_base.py`: a stage of copying, then\n"
        "generated exercises in four languages (`corpus.py`, `letters.py`): copying, naming topics and languages, filling small forms about short texts.\n"
        "Like any large base it has read letters to shops and knows what their sentences are about. It has not been taught the demo's form, its labels,\n"
        "which of several matters counts or what makes a priority: without an adapter it gets none of the suite right.\n\n"
        f"{settings}\n\nsha256 of model.safetensors: {digest}\n\n"
        "Another processor or number of threads rounds differently and gives other bytes of the same quality.\n",
        "utf-8",
    )


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = vars(parser.parse_args())
    out, threads = args.pop("out"), args.pop("threads")
    plan = Plan(**args)
    torch.set_num_threads(threads)
    library = corpus.load_library()
    tokenizer = train_tokenizer(plan, library)
    model = new_model(plan, tokenizer)
    pretrain(plan, model, tokenizer, library)
    save(out, plan, model, tokenizer)


if __name__ == "__main__":
    main()
