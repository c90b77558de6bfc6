"""One vLLM server over HTTP, control plane only: health, models, adapters in and out, one real token, teacher-forced log-probabilities, counters.

Foreign errors become ours in one place (`_translated`). The data plane has its own client in the gateway.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from router.errors import UpstreamError, UpstreamRefused, UpstreamTimeout

# A load waits behind a running step (4.9 s seen behind one long prefill on CPU), so its deadline must exceed the longest step.
LOAD_TIMEOUT_S = 60.0
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Card:
    """One entry of `/v1/models`: `root` is the directory of an adapter, `parent` its base (None for a base)."""

    name: str
    root: str
    parent: str | None
    max_model_len: int | None


class Client:
    """Calls one server. Raises UpstreamTimeout, UpstreamRefused (it answered with an error) or UpstreamError (it did not answer). Close it with `aclose`."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def healthy(self, timeout_s: float = 2.0) -> bool:
        """Whether `/health` says so. Anything else, silence included, is no."""
        try:
            return (await self._http.get("/health", timeout=timeout_s)).status_code == 200
        except httpx.HTTPError:
            return False

    async def models(self) -> dict[str, Card]:
        """What it says it has, by name. An adapter's entry does not prove that its weights are in memory."""
        body = await self._call("GET", "/v1/models")
        cards = [Card(str(m["id"]), str(m.get("root", "")), m.get("parent"), m.get("max_model_len")) for m in body.get("data", [])]
        return {card.name: card for card in cards}

    async def load(self, name: str, path: str) -> None:
        """Load the adapter in `path` under a name it never had. Loading what is there already is not an error here."""
        try:
            await self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path}, LOAD_TIMEOUT_S)
        except UpstreamRefused as error:
            if error.status != 400 or b"already been loaded" not in error.body:
                raise

    async def unload(self, name: str) -> None:
        """Take a name away. Answers in flight finish; its memory goes when another adapter needs the room. A name it does not have is not an error."""
        try:
            await self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name}, LOAD_TIMEOUT_S)
        except UpstreamRefused as error:
            if error.status != 404:
                raise

    async def one_token(self, model: str, timeout_s: float = 60.0) -> None:
        """Have it generate one token: health alone says nothing about the engine behind it. The first one of a start is slow."""
        body = await self._call("POST", "/v1/completions", {"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}, timeout_s)
        if not body.get("choices"):
            raise UpstreamError(f"{self.url} answered without a choice")

    async def logprobs(self, model: str, prompt: Sequence[int] | str) -> list[float]:
        """Teacher-forced natural-log probabilities of a prompt's tokens from the second on: entry i is of token i + 1 given those before it.

        Raises UpstreamRefused when the model computes NaN or infinity (the server answers 400 then), UpstreamError when a number is missing.
        """
        wanted = {"model": model, "prompt": list(prompt) if not isinstance(prompt, str) else prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        body = await self._call("POST", "/v1/completions", wanted, LOAD_TIMEOUT_S)
        try:
            entries = body["choices"][0]["prompt_logprobs"][1:]
            found = [float(next(iter(entry.values()))["logprob"]) for entry in entries]
        except (KeyError, IndexError, TypeError, StopIteration) as error:
            raise UpstreamError(f"{self.url} gave no prompt log-probabilities for {model}") from error
        if not all(math.isfinite(value) for value in found):
            raise UpstreamRefused(f"{model} computes values that are not numbers", status=400, body=b"not finite")
        return found

    async def generate(self, model: str, prompts: Sequence[Sequence[int]], tokens: int, timeout_s: float) -> tuple[int, int]:
        """Have it answer a batch of prompts (token ids) with exactly so many tokens each: the (prompt, generated) tokens it counted, over all of them."""
        wanted = {"model": model, "prompt": [list(ids) for ids in prompts], "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        body = await self._call("POST", "/v1/completions", wanted, timeout_s)
        try:
            return int(body["usage"]["prompt_tokens"]), int(body["usage"]["completion_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError(f"{self.url} gave no usage for a batch") from error

    async def ids(self, model: str, text: str) -> list[int]:
        """The token ids of a plain text. Raises UpstreamRefused where the server has no `/tokenize` (404)."""
        body = await self._call("POST", "/tokenize", {"model": model, "prompt": text, "add_special_tokens": False})
        try:
            return [int(token) for token in body["tokens"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError(f"{self.url} gave no tokens for a text") from error

    async def metrics(self) -> str:
        """Its `/metrics` page, as text (serving/counters.py reads it)."""
        async with _translated(self.url + "/metrics"):
            answer = await self._http.get("/metrics")
        if answer.status_code >= 400:
            raise UpstreamRefused(_message(answer), status=answer.status_code, body=answer.content)
        return answer.text

    async def version(self) -> str | None:
        """Its version; None where it does not say."""
        try:
            return str((await self._call("GET", "/version"))["version"])
        except (UpstreamRefused, KeyError):
            return None

    async def tokenize(self, model: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The ids it renders a whole conversation to, the last answer included. Raises UpstreamRefused where the server has no `/tokenize` (404)."""
        wanted: dict[str, Any] = {"model": model, "messages": list(messages), "add_generation_prompt": False}
        body = await self._call("POST", "/tokenize", wanted | ({"tools": list(tools)} if tools else {}))
        try:
            return [int(token) for token in body["tokens"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError(f"{self.url} gave no tokens for a conversation") from error

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        async with _translated(self.url + path):
            answer = await self._http.request(method, path, json=body, timeout=timeout_s)
        if answer.status_code >= 400:
            raise UpstreamRefused(_message(answer), status=answer.status_code, body=answer.content)
        if not answer.headers.get("content-type", "").startswith("application/json"):
            return {}
        found = answer.json()
        return found if isinstance(found, dict) else {}


@contextlib.asynccontextmanager
async def _translated(where: str) -> AsyncIterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        phase = "connect" if isinstance(error, httpx.ConnectTimeout) else "total"
        raise UpstreamTimeout(f"{where} did not answer in time", phase=phase) from error
    except httpx.HTTPError as error:
        raise UpstreamError(f"{where} cannot be reached: {str(error) or type(error).__name__}") from error


def _message(answer: httpx.Response) -> str:
    try:
        said = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = answer.text[:500]
    return f"{answer.status_code}: {said}"
