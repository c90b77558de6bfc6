"""Telling the world that a job ended, as OpenAI does: a signed POST by the Standard Webhooks specification, tried again until it is taken.

Public: `sign` (pure), `body` (pure), `send`. Not here: when (runner.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import httpx
import orjson

from gateway.config.training import WebhookConfig
from gateway.store.fine_tuning import Job

MOST_TRIES = 10
_LONGEST_S = 3600.0
_TIMEOUT_S = 10.0
_PREFIX = "whsec_"


def sign(secret: str, message_id: str, timestamp: int, text: bytes) -> dict[str, str]:
    """The headers that prove where a message is from. A secret after `whsec_` is base64, any other is taken as it is."""
    key = base64.b64decode(secret.removeprefix(_PREFIX)) if secret.startswith(_PREFIX) else secret.encode()
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + text, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


def message(job: Job) -> tuple[str, Mapping[str, object]]:
    """The id of the message about a job's end, the same at every try, and the event itself."""
    event_id = f"evt_{job.id.removeprefix('ftjob-')}"
    event = {
        "id": event_id,
        "object": "event",
        "created_at": int(job.finished_at or job.created_at),
        "type": f"fine_tuning.job.{job.status}",
        "data": {"id": job.id},
    }
    return f"wh_{event_id}", event


async def send(hook: WebhookConfig, job: Job, now: float) -> str | None:
    """Send it once: None when it was taken, else why not."""
    message_id, event = message(job)
    text = orjson.dumps(event)
    headers = sign(hook.secret.get_secret_value(), message_id, int(now), text)
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            answer = await client.post(hook.url, content=text, headers=headers)
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {error}"
    return None if answer.is_success else f"it answered {answer.status_code}"


def next_try(tries: int, now: float) -> float | None:
    """When to try again after so many failures; None: not any more."""
    return None if tries >= MOST_TRIES else now + min(2.0**tries, _LONGEST_S)
