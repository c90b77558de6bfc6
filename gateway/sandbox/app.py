"""The sandbox provider as an ASGI app: OpenAI's endpoints under /v1, its own under /sandbox.

    POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, /v1/moderations      GET /v1/models[/{id}]
    GET, DELETE /v1/responses/{id}
    GET /v1/organization/usage/{completions,embeddings}, /v1/organization/costs     what was used, as an admin key sees it (usage.py); not in the log
    GET /sandbox/log[?limit=N]   DELETE /sandbox/log       what was seen and billed
    GET /sandbox/faults          DELETE /sandbox/faults    the armed faults and every name
    POST /sandbox/faults {fault, count?, for_s?, model?, share?, ms?, after?, retry_after_s?}    the next `count` (1, or all for `for_s` seconds) get it

Here: routing, keys, limits, faults that are no answer. Not here: how a generated answer is paced and sent (generation.py).
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import orjson

from gateway.sandbox import bodies, refusals, responses, usage
from gateway.sandbox.call import Call, Ended, Gone, Receive, Send
from gateway.sandbox.faults import DESCRIPTIONS, Armed, Fault, FaultBook, FaultName, named
from gateway.sandbox.generation import Chat, Generation, Text, send
from gateway.sandbox.latency import pace
from gateway.sandbox.log import Entry, Log
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.quota import Quota
from gateway.sandbox.references import ReferenceBook
from gateway.sandbox.refusals import Refusal
from gateway.sandbox.tokens import PrefixCache, count
from router.errors import RequestError

_JSON = ("content-type", "application/json")
_SILENCE_MS, _SLOW_MS = 120_000, 20_000


class Sandbox:
    """The app. `clock` gives epoch seconds (stamps and rate limits); delays run on the event loop's own clock."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.log = Log(options.log_size)
        self.faults = FaultBook()
        self._clock = clock
        self._book = ReferenceBook(options.references, options.error_rate, options.seed)
        self._cache = PrefixCache()
        self._talks = responses.Talks()
        self._quotas: dict[str, Quota] = {}
        self._number = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("the sandbox speaks HTTP only")
        call = Call(scope, receive, send)
        try:
            raw = await call.body()
        except Gone:
            return
        except ValueError as error:
            await self._refuse(call, None, refusals.invalid(str(error)))
            return
        async with call:
            try:
                await (self._own(call, raw) if call.path.startswith("/sandbox") else self._v1(call, raw))
            except (Gone, Ended):
                return

    async def _own(self, call: Call, raw: bytes) -> None:
        """The sandbox's own endpoints."""
        match call.method, call.path.rstrip("/"):
            case "GET", "/sandbox/log":
                limit = parse_qs(call.query).get("limit", [""])[0]
                await _json(call, 200, self.log.as_dict(int(limit) if limit.isdigit() else None))
            case "DELETE", "/sandbox/log":
                self.log.clear()
                await _json(call, 200, {"cleared": True})
            case "GET", "/sandbox/faults":
                await _json(call, 200, self._armed())
            case "DELETE", "/sandbox/faults":
                self.faults.clear()
                await _json(call, 200, self._armed())
            case "POST", "/sandbox/faults":
                try:
                    self.faults.arm(_read_armed(orjson.loads(raw), self._clock()))
                except (ValueError, TypeError) as error:
                    await self._refuse(call, None, refusals.invalid(f"not a fault to arm: {error}"))
                except RequestError as error:
                    await self._refuse(call, None, refusals.invalid(error.message, error.param))
                else:
                    await _json(call, 201, self._armed())
            case method, path:
                await self._refuse(call, None, refusals.unknown_url(method, path))

    def _armed(self) -> dict[str, Any]:
        armed = [
            {"fault": item.fault.name, "left": item.left, "until": item.until, "model": item.model, "share": item.share}
            for item in self.faults.armed(self._clock())
        ]
        return {"object": "list", "data": armed, "faults": DESCRIPTIONS}

    async def _v1(self, call: Call, raw: bytes) -> None:
        """OpenAI's endpoints, each request to a model in the log."""
        if call.path.startswith(usage.PREFIX):
            await self._account(call)
            return
        self._number += 1
        entry = Entry(f"req_{self._number:032x}", self._clock(), call.path, None)
        self.log.open(entry)
        try:
            await self._answer(call, raw, entry)
        except Gone:
            entry.outcome = "cancelled"
            raise
        finally:
            self.log.close(entry, self._clock())

    async def _answer(self, call: Call, raw: bytes, entry: Entry) -> None:
        key = self._key(call)
        if not self._accepted(key):
            await self._refuse(call, entry, refusals.wrong_key(key))
            return
        if call.path.startswith("/v1/responses/"):
            await self._response(call, entry)
            return
        if call.method == "GET":
            await self._models(call, entry)
            return
        wanted = {"/v1/embeddings": self._embed, "/v1/moderations": self._moderate}
        handler = self._generate if call.path in {"/v1/chat/completions", "/v1/completions", "/v1/responses"} else wanted.get(call.path)
        if handler is None or call.method != "POST":
            await self._refuse(call, entry, refusals.unknown_url(call.method, call.path))
            return
        body = _object(raw)
        entry.body = body
        if body is None:
            await self._refuse(call, entry, refusals.invalid("We could not parse the JSON body of your request: expected a JSON object."))
            return
        model = body.get("model", "omni-moderation-latest" if call.path == "/v1/moderations" else None)
        entry.model = model if isinstance(model, str) else None
        if model not in self.options.models:
            await self._refuse(call, entry, refusals.unknown_model(model))
            return
        await handler(call, body, entry)

    async def _account(self, call: Call) -> None:
        """The organization's usage and costs."""
        key = self._key(call)
        if not self._accepted(key):
            await self._refuse(call, None, refusals.wrong_key(key))
            return
        found = usage.answer(self.log, call.path, call.query, self._clock()) if call.method == "GET" else refusals.unknown_url(call.method, call.path)
        if isinstance(found, Refusal):
            await self._refuse(call, None, found)
        else:
            await _json(call, 200, found)

    def _key(self, call: Call) -> str:
        return (call.header("authorization") or "").removeprefix("Bearer ").strip()

    def _accepted(self, key: str) -> bool:
        return self.options.api_key is None or hmac.compare_digest(key.encode(), self.options.api_key.encode())

    async def _response(self, call: Call, entry: Entry) -> None:
        name = call.path.removeprefix("/v1/responses/")
        found = self._talks.stored(call.method, name) if call.method in {"GET", "DELETE"} else None
        if found is None:
            await self._refuse(call, entry, refusals.refusal(404, f"Response with id '{name}' not found.", "invalid_request_error", None))
        else:
            await self._complete(call, entry, found)

    async def _models(self, call: Call, entry: Entry) -> None:
        name = call.path.removeprefix("/v1/models").strip("/")
        if not call.path.startswith("/v1/models"):
            await self._refuse(call, entry, refusals.unknown_url(call.method, call.path))
        elif name and name not in self.options.models:
            await self._refuse(call, entry, refusals.unknown_model(name))
        elif name:
            await self._complete(call, entry, bodies.model_entry(name))
        else:
            await self._complete(call, entry, {"object": "list", "data": [bodies.model_entry(model) for model in self.options.models]})

    async def _generate(self, call: Call, body: dict[str, Any], entry: Entry) -> None:
        """Chat and text completions and responses: check, count, perhaps fail, then generate."""
        began = self._clock()
        kind = self._kind(call.path, body)
        if isinstance(kind, Refusal):
            await self._refuse(call, entry, kind)
            return
        entry.stream = bool(body.get("stream"))
        model = str(body["model"])
        try:
            fault = self.faults.take(call.header("x-sandbox-fault"), model, began)
        except RequestError as error:
            await self._refuse(call, entry, refusals.invalid(error.message, error.param))
            return
        entry.fault = None if fault is None else fault.name.value
        problem = self._problem(kind, fault, model, began)
        if problem is not None:
            await self._refuse(call, entry, problem)
            return
        await _before_answer(call, fault)
        entry.prompt_tokens = len(kind.prompt)
        entry.cached_tokens = self._cache.cached(kind.prompt)
        options = self.options
        speed = pace(options.ttft_ms, options.token_ms, options.jitter, options.seed, self._number)
        made = Generation(kind, entry, fault, speed, [*self._headers(entry, model), ("openai-processing-ms", str(round(speed.first * 1000)))])
        await (responses.send(call, made, kind, self._talks) if isinstance(kind, responses.Reply) else send(call, made))

    def _kind(self, path: str, body: dict[str, Any]) -> Chat | Text | Refusal:
        """What is to be generated, or what is wrong with the request."""
        if path == "/v1/responses":
            return self._talks.reply(body, self._book)
        chat = path == "/v1/chat/completions"
        problem = refusals.check_chat(body) if chat else refusals.check_limits(body)
        if problem is not None:
            return problem
        return Chat(body, self._book) if chat else Text(body)

    def _problem(self, kind: Chat | Text, fault: Fault | None, model: str, now: float) -> Refusal | None:
        """The error answer a well-formed request gets: a fault's, a too long context, a rate limit."""
        tokens = len(kind.prompt)
        if fault is not None:
            made = refusals.of_fault(fault, model, self.options.context_tokens, tokens)
            if made is not None:
                return made
        if tokens + (kind.limit or 0) > self.options.context_tokens:
            return refusals.too_long(self.options.context_tokens, tokens + (kind.limit or 0))
        exceeded = self._quota(model).take(tokens + (kind.limit or 16), now)
        return None if exceeded is None else refusals.rate_limited(exceeded[0], model, exceeded[1], exceeded[2])

    async def _embed(self, call: Call, body: dict[str, Any], entry: Entry) -> None:
        texts = _texts(body.get("input"))
        dimensions = body.get("dimensions") or 1536
        if not texts or not isinstance(dimensions, int) or not 1 <= dimensions <= 4096:
            await self._refuse(call, entry, refusals.invalid("'input' must be a text or an array of texts, 'dimensions' at most 4096.", "input"))
            return
        entry.prompt_tokens = sum(map(count, texts))
        encoding = str(body.get("encoding_format") or "float")
        data = [bodies.embedding_entry(index, bodies.embedding(text, dimensions), encoding) for index, text in enumerate(texts)]
        spent = {"prompt_tokens": entry.prompt_tokens, "total_tokens": entry.prompt_tokens}
        entry.reported = True
        await call.pause(self.options.ttft_ms / 1000)
        await self._complete(call, entry, {"object": "list", "data": data, "model": body["model"], "usage": spent})

    async def _moderate(self, call: Call, body: dict[str, Any], entry: Entry) -> None:
        results = [bodies.moderation(text) for text in _texts(body.get("input"))]
        await self._complete(call, entry, {"id": f"modr-{entry.id[-8:]}", "model": entry.model or "omni-moderation-latest", "results": results})

    def _quota(self, model: str) -> Quota:
        if model not in self._quotas:
            self._quotas[model] = Quota(self.options.requests_per_minute, self.options.tokens_per_minute, self._clock())
        return self._quotas[model]

    def _headers(self, entry: Entry | None, model: str | None) -> list[tuple[str, str]]:
        """What every answer carries."""
        ident = [] if entry is None else [("x-request-id", entry.id), ("openai-organization", "sandbox"), ("openai-version", "2020-10-01")]
        limits = [] if model is None else self._quota(model).headers(self._clock())
        return [("x-sandbox", "1"), *ident, *limits]

    async def _complete(self, call: Call, entry: Entry, body: dict[str, Any]) -> None:
        entry.outcome, entry.status = "completed", 200
        await call.answer(200, orjson.dumps(body), [_JSON, *self._headers(entry, entry.model)])

    async def _refuse(self, call: Call, entry: Entry | None, what: Refusal) -> None:
        if entry is not None:
            entry.outcome, entry.status = "refused", what.status
        known = entry.model if entry is not None and entry.model in self.options.models else None
        await call.answer(what.status, what.body, [*what.headers, *self._headers(entry, known)])


def create_sandbox(options: SandboxOptions | None = None, clock: Callable[[], float] = time.time) -> Sandbox:  # noqa: TID251 - a process of its own
    """The sandbox provider as an ASGI app. Run it on uvicorn: some faults need its transport."""
    return Sandbox(options or SandboxOptions(), clock)


async def _before_answer(call: Call, fault: Fault | None) -> None:
    """Faults that happen instead of an answer's beginning."""
    if fault is None:
        return
    if fault.name is FaultName.RESET:
        await call.reset()
    if fault.name is FaultName.SILENCE:
        await call.pause(fault.seconds(_SILENCE_MS))
        await call.hang_up()
    if fault.name is FaultName.SLOW_FIRST_TOKEN:
        await call.pause(fault.seconds(_SLOW_MS))


async def _json(call: Call, status: int, body: dict[str, Any]) -> None:
    await call.answer(status, orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS), [_JSON, ("x-sandbox", "1")])


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        phase = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{phase}.complete"})
        if phase == "shutdown":
            return


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _texts(value: object) -> list[str]:
    """The texts of an `input`: one, several, or token arrays (each a text of its own)."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    return [" ".join(map(str, value))] if value and all(isinstance(item, int) for item in value) else [str(item) for item in value]


def _read_armed(body: Any, now: float) -> Armed:
    """Read a POST /sandbox/faults. Raises RequestError, ValueError, TypeError."""
    if not isinstance(body, dict):
        raise TypeError("expected a JSON object")
    fault = Fault(
        named(str(body.pop("fault", ""))).name,
        None if body.get("ms") is None else float(body["ms"]),
        int(body.get("after", 3)),
        float(body.get("retry_after_s", 1.0)),
    )
    for_s = None if body.get("for_s") is None else float(body["for_s"])
    default = 1 if for_s is None else None
    left = default if body.get("count") is None else int(body["count"])
    unknown = set(body) - {"count", "for_s", "model", "share", "ms", "after", "retry_after_s"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return Armed(fault, left, None if for_s is None else now + for_s, body.get("model"), float(body.get("share", 1.0)))
