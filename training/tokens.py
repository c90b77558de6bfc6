"""What the model is trained on: token ids and, per token, whether it counts for the loss. What is previewed is exactly what is trained.

Public:
    encode_all(tokenizer, examples, max_length, stop_ids) -> list[Encoded]     raises DataError with every problem by line
    encode(tokenizer, example, stop_ids) -> Encoded                            raises TemplateError with the reason
    preview(tokenizer, examples, stop_ids) -> list[Preview];  coloured(preview) -> rich Text
A template with `{% generation %}` marks says itself what the assistant wrote. For one without, an answer is what the conversation adds to the prompt
that the server renders, which is taken only where that prompt is truly its beginning. Either way the template is the tokenizer's own, never another.
Not here: loading a tokenizer (model.py). `Tokenizer` is what is used of a transformers fast tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import TemplateError as JinjaError

from router.errors import DataError, Problem
from training.chat import Example, Message

if TYPE_CHECKING:
    from rich.text import Text

Span = tuple[int, int]


class Tokenizer(Protocol):
    """The part of a transformers fast tokenizer that training uses."""

    chat_template: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render messages to text or ids."""
        ...

    def decode(self, token_ids: Any) -> str:
        """Ids to text."""
        ...

    def __call__(self, text: str, **options: Any) -> Any:
        """Text to ids, with offsets when asked."""
        ...


class TemplateError(ValueError):
    """The chat template and this example do not give a usable loss mask; the message says why."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as the trainer sees it. `mask[i]` is 1 where token i is learnt. `line` is the example's line in its file."""

    input_ids: tuple[int, ...]
    mask: tuple[int, ...]
    line: int

    @property
    def labels(self) -> list[int]:
        """Ids where they count, -100 elsewhere: torch's convention."""
        return [token if counts else -100 for token, counts in zip(self.input_ids, self.mask, strict=True)]


@dataclass(frozen=True, slots=True)
class Preview:
    """One example cut into runs of tokens that are learnt or not. `pieces` are (text, learnt)."""

    line: int
    tokens: int
    learnt: int
    pieces: tuple[tuple[str, bool], ...]

    def as_dict(self) -> dict[str, object]:
        """JSON-ready form."""
        return {"line": self.line, "tokens": self.tokens, "learnt": self.learnt, "pieces": [{"text": text, "learnt": learnt} for text, learnt in self.pieces]}


def encode_all(tokenizer: Tokenizer, examples: Sequence[Example], max_length: int, stop_ids: Collection[int], file: str | None = None) -> list[Encoded]:
    """Every example's ids and mask. Raises DataError naming each example that has no usable mask or is longer than `max_length` tokens."""
    encoded: list[Encoded] = []
    problems: list[Problem] = []
    for example in examples:
        try:
            one = encode(tokenizer, example, stop_ids)
        except TemplateError as error:
            problems.append(Problem(str(error), file, example.line))
            continue
        if len(one.input_ids) > max_length:
            said = f"is {len(one.input_ids)} tokens long, but max_length is {max_length}: shorten it or raise max_length"
            problems.append(Problem(said, file, example.line))
        encoded.append(one)
    if problems:
        raise DataError(
            f"{len(problems)} of {len(examples)} examples cannot be trained on as they are; nothing was cut and nothing was trained", tuple(problems)
        )
    return encoded


def encode(tokenizer: Tokenizer, example: Example, stop_ids: Collection[int]) -> Encoded:
    """Ids and mask of one example. Every learnt answer must be non-empty, end with a stop token, and begin where the server's prompt ends."""
    messages = for_template(example.messages)
    text = _render(tokenizer, messages, example, generation=False)
    prompts = {i: _render(tokenizer, messages[:i], example, generation=True) for i in example.trained}
    unlike = next((i for i, prompt in prompts.items() if not text.startswith(prompt)), None)
    if unlike is not None:
        raise TemplateError(
            f"the chat template renders messages[{unlike}] in another context than the server will when it asks for it; "
            "train on a template that only appends, or set weight 0 on all but the last answer"
        )
    out = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = tuple(out["input_ids"])
    offsets = out["offset_mapping"]
    marked = _has_marks(tokenizer)
    spans = _marked(tokenizer, messages, example, prompts, offsets) if marked else _appended(tokenizer, messages, example, prompts)
    mask = [0] * len(ids)
    for i, span in spans.items():
        _learn((ids, offsets), span, mask, i, stop_ids)
        served = tuple(tokenizer(prompts[i], add_special_tokens=False)["input_ids"])
        if ids[: len(served)] != served or (len(served) < len(mask) and not mask[len(served)]):
            said = "begins with characters that merge into the last token of its header, which the server tokenises apart; strip the answer"
            raise TemplateError(f"messages[{i}] {said}")
    if all(mask):
        raise TemplateError("every token would be learnt, the question included: the chat template marks too much as generated")
    return Encoded(ids, tuple(mask), example.line)


def for_template(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates and vLLM take them: tool call arguments as objects, OpenAI sends them as text."""
    out = []
    for message in messages:
        copy = dict(message)
        if copy.get("tool_calls"):
            functions = [(call, call["function"]) for call in copy["tool_calls"]]
            copy["tool_calls"] = [{**call, "function": {**f, "arguments": json.loads(f["arguments"])}} for call, f in functions]
        out.append(copy)
    return out


def preview(tokenizer: Tokenizer, examples: Sequence[Example], stop_ids: Collection[int]) -> list[Preview]:
    """Each example as runs of learnt and unlearnt text. Raises TemplateError."""
    out = []
    for example in examples:
        one = encode(tokenizer, example, stop_ids)
        pieces: list[tuple[str, bool]] = []
        start = 0
        for end in range(1, len(one.mask) + 1):
            if end == len(one.mask) or one.mask[end] != one.mask[start]:
                pieces.append((tokenizer.decode(list(one.input_ids[start:end])), bool(one.mask[start])))
                start = end
        out.append(Preview(example.line, len(one.mask), sum(one.mask), tuple(pieces)))
    return out


def coloured(shown: Preview) -> Text:
    """A preview for the terminal: learnt text in green on a tint, the rest dim."""
    from rich.text import Text

    text = Text(f"line {shown.line}: {shown.learnt} of {shown.tokens} tokens are learnt\n", style="bold")
    for piece, learnt in shown.pieces:
        text.append(piece, style="black on green" if learnt else "dim")
    return text


def _render(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], example: Example, *, generation: bool) -> str:
    if not tokenizer.chat_template:
        raise TemplateError("the base has no chat template, so it is unknown how the server will render a conversation; use an instruct model")
    tools = [dict(tool) for tool in example.tools] or None
    try:
        return str(tokenizer.apply_chat_template(list(messages), tools=tools, tokenize=False, add_generation_prompt=generation))
    except (JinjaError, KeyError, TypeError) as error:
        raise TemplateError(f"the base's chat template refuses this conversation: {error}") from error


def _has_marks(tokenizer: Tokenizer) -> bool:
    template = tokenizer.chat_template
    text = template if isinstance(template, str) else json.dumps(template)
    return "endgeneration" in text


def _marked(tokenizer: Tokenizer, messages: list[dict[str, Any]], example: Example, prompts: Mapping[int, str], offsets: Sequence[Span]) -> dict[int, Span]:
    """Spans from the template's generation marks, one per assistant message in order."""
    tools = [dict(tool) for tool in example.tools] or None
    out = tokenizer.apply_chat_template(messages, tools=tools, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    runs: list[Span] = []
    for (start, end), marked, before in zip(offsets, out["assistant_masks"], [0, *out["assistant_masks"]], strict=False):
        if marked and before:
            runs[-1] = (runs[-1][0], end)
        elif marked:
            runs.append((start, end))
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if len(runs) != len(answers):
        said = f"the chat template marks {len(runs)} generated parts for {len(answers)} assistant messages"
        raise TemplateError(f"{said}; each must have its own {{% generation %}} block")
    spans = {i: run for i, run in zip(answers, runs, strict=True) if i in example.trained}
    for i, (start, _) in spans.items():
        if start != len(prompts[i]):
            said = f"the generation mark of messages[{i}] does not begin where the server's prompt ends"
            raise TemplateError(f"{said}; move {{% generation %}} right behind the assistant header")
    return spans


def _appended(tokenizer: Tokenizer, messages: list[dict[str, Any]], example: Example, prompts: Mapping[int, str]) -> dict[int, Span]:
    """Spans without marks: from the end of the server's prompt to the end of the conversation up to that answer."""
    return {i: (len(prompt), len(_render(tokenizer, messages[: i + 1], example, generation=False))) for i, prompt in prompts.items()}


def _learn(out: tuple[Sequence[int], Sequence[Span]], span: Span, mask: list[int], index: int, stop_ids: Collection[int]) -> None:
    """Mark the tokens of a span, up to and including its last stop token; what a template writes behind that the server never generates."""
    ids, offsets = out
    inside = [k for k, (start, end) in enumerate(offsets) if span[0] <= start < end <= span[1]]
    if not inside:
        raise TemplateError(f"nothing of messages[{index}] would be learnt: the loss mask is empty")
    stops = [k for k in inside if ids[k] in stop_ids]
    if not stops:
        raise TemplateError(
            f"messages[{index}] does not end with a stop token in the part that is learnt, so the model would never learn to stop; "
            "the template must put the end-of-turn token inside the generation block, and it must be an eos token of the base"
        )
    for k in range(inside[0], stops[-1] + 1):
        mask[k] = 1
