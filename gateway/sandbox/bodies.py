"""OpenAI's answer shapes, filled in. Pure; every answer says by `system_fingerprint` that it is the sandbox's."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.sandbox.answers import Answer
from gateway.sandbox.tokens import pieces

FINGERPRINT = "sandbox"
_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm", "self-harm/instructions"),
    *("self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic"),
)
FLAG_WORD = "sandbox-flag"


def usage(prompt: int, cached: int, completion: int) -> dict[str, Any]:
    """OpenAI's usage object of a chat answer."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }


def head(kind: str, ident: str, created: int, model: str) -> dict[str, Any]:
    """The fields every chunk and completion starts with. `kind` is the `object`."""
    return {"id": ident, "object": kind, "created": created, "model": model, "system_fingerprint": FINGERPRINT}


def chat_message(answer: Answer) -> dict[str, Any]:
    """The assistant's message of a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text if answer.tool is None else None, "refusal": None, "annotations": []}
    if answer.tool is not None:
        message["tool_calls"] = [{"id": call_id(answer), "type": "function", "function": {"name": answer.tool, "arguments": answer.text}}]
    return message


def chat_choice(index: int, answer: Answer) -> dict[str, Any]:
    """One choice of a whole answer."""
    return {"index": index, "message": chat_message(answer), "logprobs": None, "finish_reason": answer.finish}


def chat_opening(index: int, answer: Answer) -> dict[str, Any]:
    """The first choice of a stream: the role, and the tool's name where there is one."""
    delta: dict[str, Any] = {"role": "assistant", "content": "" if answer.tool is None else None, "refusal": None}
    if answer.tool is not None:
        delta["tool_calls"] = [{"index": 0, "id": call_id(answer), "type": "function", "function": {"name": answer.tool, "arguments": ""}}]
    return _delta(index, delta)


def chat_token(index: int, answer: Answer, token: str) -> dict[str, Any]:
    """A choice of a stream with one token."""
    return _delta(index, {"content": token} if answer.tool is None else {"tool_calls": [{"index": 0, "function": {"arguments": token}}]})


def chat_ending(index: int, finish: str) -> dict[str, Any]:
    """The last choice of a stream."""
    return {**_delta(index, {}), "finish_reason": finish}


def text_choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    """A choice of /v1/completions, streamed (`finish` None until the last) or not."""
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def call_id(answer: Answer) -> str:
    """A tool call's id: the same for the same call."""
    return f"call_{hashlib.sha256(f'{answer.tool}{answer.text}'.encode()).hexdigest()[:24]}"


def model_entry(name: str) -> dict[str, Any]:
    """One entry of /v1/models."""
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sandbox"}


def embedding(text: str, dimensions: int) -> list[float]:
    """A unit vector of a text: every token adds ±1 in eight places that its hash chooses, so texts that share words are near."""
    vector = [0.0] * dimensions
    for token in pieces(text.lower()) or [""]:
        digest = hashlib.sha256(token.strip().encode()).digest()
        for place in struct.unpack("<8I", digest):
            vector[(place >> 1) % dimensions] += 1.0 if place & 1 else -1.0
    norm = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / norm for x in vector]


def embedding_entry(index: int, vector: Sequence[float], encoding: str) -> dict[str, Any]:
    """One entry of /v1/embeddings; `encoding` base64 packs little-endian float32, as OpenAI does."""
    packed: Any = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if encoding == "base64" else list(vector)
    return {"object": "embedding", "index": index, "embedding": packed}


def moderation(text: str) -> dict[str, Any]:
    """One result of /v1/moderations: flagged (as harassment) when the text has the word `sandbox-flag`."""
    flagged = FLAG_WORD in text
    hit: Mapping[str, bool] = {name: flagged and name == "harassment" for name in _CATEGORIES}
    scores = {name: 0.99 if is_hit else 0.0001 for name, is_hit in hit.items()}
    return {"flagged": flagged, "categories": hit, "category_scores": scores, "category_applied_input_types": {name: ["text"] for name in hit}}


def _delta(index: int, delta: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
