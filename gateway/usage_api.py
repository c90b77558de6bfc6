"""A provider's usage and costs asked for over HTTP: OpenAI's organization API, page after page. Not here: what the pages mean (usage_export.py).

The key is the provider's admin key, another one than those that answer requests; it comes from the environment alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx

from router.errors import ConfigError, RequestError, UpstreamError

# Buckets a page may have: what the API allows for days.
_PATHS: Mapping[str, tuple[str, int]] = {
    "/organization/usage/completions": ("model", 31),
    "/organization/usage/embeddings": ("model", 31),
    "/organization/costs": ("line_item", 180),
}
_TIMEOUT_S = 60.0
_MOST_PAGES = 1000


def key_name(provider: str) -> str:
    """The environment variable that holds a provider's admin key: OPENAI_ADMIN_KEY for `openai`."""
    return re.sub(r"\W", "_", provider).upper() + "_ADMIN_KEY"


def admin_key(provider: str, environ: Mapping[str, str]) -> str:
    """That key. Raises ConfigError when it is not set."""
    key = environ.get(key_name(provider))
    if not key:
        raise ConfigError(f"the usage of {provider} is read with its admin key: set {key_name(provider)}, or give a file with its usage export")
    return key


def pages(base_url: str, key: str, since: int, until: int) -> list[Any]:
    """Every page of usage by model and costs by line item from `since` to `until` (epoch seconds), by day. Raises UpstreamError or RequestError."""
    found: list[Any] = []
    with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False) as client:
        for path, (group, limit) in _PATHS.items():
            query: dict[str, str | int] = {"start_time": since, "end_time": until, "bucket_width": "1d", "group_by[]": group, "limit": limit}
            for _ in range(_MOST_PAGES):
                page = _page(client, base_url.rstrip("/") + path, query)
                found.append(page)
                if not page.get("has_more") or not page.get("next_page"):
                    break
                query["page"] = str(page["next_page"])
    return found


def _page(client: httpx.Client, url: str, query: Mapping[str, str | int]) -> dict[str, Any]:
    try:
        answer = client.get(url, params=query)
    except httpx.TransportError as error:
        raise UpstreamError(f"{url} does not answer ({type(error).__name__}); is the provider's base_url right?", code="upstream_unreachable") from error
    try:
        body = json.loads(answer.text, parse_float=Decimal)
    except ValueError:
        body = None
    if answer.status_code in {401, 403}:
        raise RequestError(f"{url} refuses the key: it must be an admin key that may read usage", status=answer.status_code, code="invalid_admin_key")
    if answer.status_code != 200 or not isinstance(body, dict):
        said = body.get("error", {}) if isinstance(body, dict) else {}
        why = said.get("message") if isinstance(said, dict) else None
        raise RequestError(f"{url} answered {answer.status_code}: {why or 'is this an OpenAI-compatible usage API?'}", status=answer.status_code)
    return body
