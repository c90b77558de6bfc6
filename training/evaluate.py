"""Asking a suite's questions through the running gateway, pinned to each rung, as a client would.

Public: `evaluate(suite, rungs, endpoint, options) -> EvalReport` (async), `RungSpec`, `Endpoint`, `Options`.
Answers go through the real serving path at serving precision. Each is written down when it comes, so that an interrupted evaluation goes on where it
stopped. Requests are tagged `purpose=eval` in the ledger and never captured. Not here: judging (scorers.py), the verdict (gate.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import openai

from router.errors import BreakevenError, UpstreamError
from router.money import parse_usd
from serving.programs import Program
from training import judge, scorers
from training.chat import question
from training.manifest import sha256_json
from training.progress import OnProgress, Progress, eta, silent
from training.results import EvalReport, ItemResult, Role, Rung
from training.scorers import Answer
from training.suite import Item, Suite

HEADERS = {"x-breakeven-tags": "purpose=eval", "x-breakeven-no-capture": "1"}
_LEAST_TOKENS, _FREE_FORM_TOKENS = 64, 1024
_HOPELESS = 10  # so many answers in a row that are errors, and none before: the rung cannot be evaluated


@dataclass(frozen=True, slots=True)
class RungSpec:
    """A pinned model name and what it stands for in the comparison. `program` renders its messages (as the gateway does for such a candidate), `extra` are more
    fields of its requests."""

    model: str
    role: Role
    name: str = ""
    program: Program | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What of it decides the answers besides the model; empty for a model as it is."""
        if self.program is None and not self.extra:
            return ""
        program = self.program
        parts = None if program is None else [program.system, program.shots, program.passages, program.spec.k, program.spec.passages]
        return sha256_json([repr(parts), dict(self.extra)])[:16]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The running gateway. `base_url` ends in /v1."""

    base_url: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Options:
    """`directory` keeps the answers of each rung between runs; `max_tokens` None: twice the longest expected answer in bytes (a token is at least one)."""

    directory: Path
    concurrency: int = 8
    timeout_s: float = 120.0
    max_tokens: int | None = None
    on_progress: OnProgress = silent
    clock: Callable[[], float] = time.monotonic
    judge: str | None = None


@dataclass(slots=True)
class _State:
    """The counters of one run."""

    total: int
    begun: float
    done: int = 0
    failed_in_a_row: int = 0
    answered: int = 0
    fatal: list[str] = field(default_factory=list)


async def evaluate(suite: Suite, route: str, rungs: Sequence[RungSpec], endpoint: Endpoint, options: Options) -> EvalReport:
    """Ask every rung every question. Raises UpstreamError where a rung cannot answer at all (unknown model, bad key, gateway down)."""
    options.directory.mkdir(parents=True, exist_ok=True)
    state = _State(total=len(suite.items) * len(rungs), begun=options.clock())
    async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=3, timeout=options.timeout_s) as client:
        # One rung after the other: their latencies are compared, so they must not compete.
        done = [await _rung(client, suite, spec, options, state) for spec in rungs]
    return EvalReport(route, suite.file, suite.digest, tuple(done))


async def _rung(client: openai.AsyncOpenAI, suite: Suite, spec: RungSpec, options: Options, state: _State) -> Rung:
    limit = options.max_tokens or token_limit(suite.items)
    name = spec.model + (f" {spec.name} {spec.digest}" if spec.digest else "")
    path = options.directory / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.jsonl"
    header = {"suite": suite.digest, "model": spec.model, "max_tokens": limit, **({"program": spec.digest} if spec.digest else {})}
    if options.judge and any(item.scorer == "judge" for item in suite.items):
        header["judge"] = options.judge
    known = _kept(path, header)
    state.done += len(known)
    state.failed_in_a_row = state.answered = 0
    gate = asyncio.Semaphore(options.concurrency)
    with path.open("a", encoding="utf-8") as file:
        if path.stat().st_size == 0:
            _write(file, header)

        async def one(item: Item) -> None:
            async with gate:
                if state.fatal:
                    return
                try:
                    result = await _ask(client, spec, item, limit, options)
                except BreakevenError as error:  # the judge, not the rung: no item can be scored without it
                    state.fatal.append(error.message)
                    return
                known[item.id] = result
                _write(file, asdict(result))
                _count(state, result, options)

        async with asyncio.TaskGroup() as group:
            for item in suite.items:
                if item.id not in known:
                    group.create_task(one(item))
    if state.fatal:
        raise UpstreamError(f"{spec.model} cannot be evaluated: {state.fatal[0]}")
    return Rung(spec.model, spec.role, tuple(known[item.id] for item in suite.items), spec.name)


def token_limit(items: Sequence[Item]) -> int:
    """Room for every right answer and for wrong ones to show themselves: twice the longest expected text in bytes, 1,024 where a scorer expects no text."""
    if any(item.scorer in ("json_schema", "regex", "judge") or item.function is not None for item in items):
        return _FREE_FORM_TOKENS
    texts = (item.expected if isinstance(item.expected, str) else json.dumps(item.expected, ensure_ascii=False) for item in items)
    return max(_LEAST_TOKENS, 2 * max(len(text.encode()) for text in texts))


async def _ask(client: openai.AsyncOpenAI, spec: RungSpec, item: Item, limit: int, options: Options) -> ItemResult:
    more: dict[str, Any] = {"tools": [dict(tool) for tool in item.tools]} if item.tools else {}
    messages: Any = [dict(message) for message in item.messages]
    begun = options.clock()
    if spec.program is not None:
        messages = spec.program.render(messages)  # its look-ups are part of its latency
    try:
        raw = await client.chat.completions.with_raw_response.create(
            model=spec.model, messages=messages, temperature=0.0, max_completion_tokens=limit, extra_headers=HEADERS, **{**more, **spec.extra}
        )
        body = raw.parse()
    except openai.APIStatusError as error:
        return _failed(item, f"{error.status_code}: {error.message}", error.response.headers.get("x-request-id"))
    except openai.APIError as error:
        return _failed(item, f"{type(error).__name__}: {error}", None)
    latency_ms = (options.clock() - begun) * 1000.0
    if not body.choices:
        return _failed(item, "the answer has no choices", raw.headers.get("x-request-id"))
    choice = body.choices[0]
    calls = tuple((call.function.name, call.function.arguments) for call in choice.message.tool_calls or () if call.type == "function")
    answer = Answer(choice.message.content or "", calls)
    judged = await _judged(client, options, item, answer)
    usage = body.usage
    return ItemResult(
        id=item.id,
        answer=answer.text + "".join(f"\n{name}({arguments})" for name, arguments in calls),
        value=judged.value,
        right=judged.right,
        valid=judged.valid,
        detail=judged.detail,
        must_pass=item.must_pass,
        finish=choice.finish_reason,
        latency_ms=latency_ms,
        cost_nanousd=_cost(raw.headers.get("x-breakeven-cost-usd")),
        input_tokens=usage.prompt_tokens if usage else None,
        output_tokens=usage.completion_tokens if usage else None,
        request_id=raw.headers.get("x-request-id"),
        model=body.model,
    )


async def _judged(client: openai.AsyncOpenAI, options: Options, item: Item, answer: Answer) -> scorers.Score:
    """The item's scorer; for `judge` the judge model, in both orders. An answer that is no worse than the reference is right."""
    if item.scorer != "judge":
        return scorers.score(item, answer)
    if options.judge is None:
        raise BreakevenError(f"item {item.id} is for a judge: name one with --judge provider/model")
    asked = question(item.messages)
    value, picks = await judge.compare(judge_of(client, options.judge), asked, answer.text, item.expected)
    return scorers.Score(value, right=value >= 0.5, detail=f"judge: {picks[0]}, swapped: {picks[1]}")


def judge_of(client: openai.AsyncOpenAI, model: str) -> judge.Ask:
    """A judge model behind the gateway."""

    async def ask(text: str) -> str:
        try:
            body = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": text}], temperature=0.0, max_completion_tokens=16, extra_headers=HEADERS
            )
        except openai.APIError as error:
            raise UpstreamError(f"the judge {model} does not answer: {error}") from error
        return (body.choices[0].message.content or "") if body.choices else ""

    return ask


def _failed(item: Item, error: str, request_id: str | None) -> ItemResult:
    valid = False if item.scorer in ("json_fields", "json_schema", "tool_call") else None
    return ItemResult(item.id, "", 0.0, right=False, valid=valid, detail="", must_pass=item.must_pass, request_id=request_id, error=error[:500])


def _count(state: _State, result: ItemResult, options: Options) -> None:
    state.done += 1
    state.failed_in_a_row = 0 if result.error is None else state.failed_in_a_row + 1
    state.answered += result.error is None
    if state.answered == 0 and state.failed_in_a_row >= min(_HOPELESS, state.total) and result.error:
        state.fatal.append(result.error)
    elapsed = options.clock() - state.begun
    options.on_progress(Progress("evaluating", state.done, state.total, elapsed, eta(state.done, state.total, elapsed)))


def _kept(path: Path, header: dict[str, Any]) -> dict[str, ItemResult]:
    """Answers of an earlier run of the same questions; errors are asked again. Another suite's file is set aside, not mixed in."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = [row for row in map(_row, lines) if row is not None]
    if not rows or rows[0] != header:
        path.replace(path.with_suffix(f".{sha256_json(rows[:1])[:8]}.old"))
        return {}
    try:
        kept = [ItemResult(**row) for row in rows[1:]]
    except TypeError as error:
        raise BreakevenError(f"{path} was written by another version; remove it and evaluate again") from error
    if lines[-1]:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    return {result.id: result for result in kept if result.error is None}


def _row(line: str) -> Any:
    """A line as JSON; None for the empty end and for what a kill tore."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _write(file: IO[str], row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()


def _cost(header: str | None) -> int | None:
    if not header:
        return None
    with contextlib.suppress(ValueError):
        return parse_usd(header)
    return None
