"""What the sandbox's account says: OpenAI's organization usage and costs API over its own log. The independent side of a reconciliation.

    GET /v1/organization/usage/completions   GET /v1/organization/usage/embeddings      by minute, hour or day, with group_by=model by model
    GET /v1/organization/costs                                                          by day, with group_by=line_item by model and direction

Dollars are the price package's own arithmetic, in decimals over whole buckets; the ledger's (router.money) is not used. Models without a price have no costs
here, nor have those whose price depends on the size of a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from gateway.sandbox import refusals
from gateway.sandbox.log import Log, Used
from gateway.sandbox.refusals import Refusal

PREFIX = "/v1/organization/"
_WIDTHS = {"1m": 60, "1h": 3600, "1d": 86_400}
# The buckets of one page: how many by default, and at most.
_LIMITS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
_COST_LIMITS = (7, 180)
_GROUPS = {"usage": {"model", "project_id", "user_id", "api_key_id", "batch", "service_tier"}, "costs": {"line_item", "project_id", "api_key_id"}}


def answer(log: Log, path: str, query: str, now: float) -> dict[str, Any] | Refusal:
    """The page that was asked for, or what is wrong with the request."""
    name = path.removeprefix(PREFIX).rstrip("/")
    if name not in {"usage/completions", "usage/embeddings", "costs"}:
        return refusals.unknown_url("GET", path)
    asked = {key.removesuffix("[]"): values for key, values in parse_qs(query).items()}
    costs = name == "costs"
    width = asked.get("bucket_width", ["1d"])[0]
    if width not in ({"1d"} if costs else _WIDTHS):
        return refusals.invalid(f"Invalid value: '{width}'. Supported values are: '1m', '1h' and '1d' for usage, '1d' for costs.", "bucket_width")
    unknown = set(asked.get("group_by", ())) - _GROUPS[name.partition("/")[0]]
    if unknown:
        return refusals.invalid(f"Invalid value: '{min(unknown)}'.", "group_by")
    numbers: dict[str, int] = {}
    default, most = _COST_LIMITS if costs else _LIMITS[width]
    for key, otherwise, low, high in (("start_time", None, 0, 2**40), ("end_time", int(now), 0, 2**40), ("limit", default, 1, most), ("page", 0, 0, 2**40)):
        text = asked.get(key, [None])[0]
        value = otherwise if text is None else int(text) if text.isdecimal() else -1
        if value is None or not low <= value <= high:
            return refusals.invalid(f"Invalid '{key}': expected an integer from {low} to {high}.", key)
        numbers[key] = value
    return _page(log, name, _WIDTHS[width], numbers, set(asked.get("group_by", ())))


def _page(log: Log, name: str, width: int, numbers: Mapping[str, int], groups: set[str]) -> dict[str, Any]:
    start = max(numbers["start_time"] // width * width, numbers["page"])
    buckets: list[dict[str, Any]] = []
    while start < numbers["end_time"] and len(buckets) < numbers["limit"]:
        used = log.used(start, start + width)
        results = list(_costs(used, start, groups) if name == "costs" else _usage(used, name.removeprefix("usage/"), groups))
        buckets.append({"object": "bucket", "start_time": start, "end_time": start + width, "results": results})
        start += width
    more = start < numbers["end_time"]
    return {"object": "page", "data": buckets, "has_more": more, "next_page": str(start) if more else None}


def _usage(used: Mapping[tuple[str, str], Used], kind: str, groups: set[str]) -> Iterator[dict[str, Any]]:
    sums: dict[str | None, Used] = {}
    for (what, model), each in used.items():
        if what == kind:
            name = model if "model" in groups else None
            sums[name] = sums.get(name, Used()) + each
    for name, total in sums.items():
        common = {"project_id": None, "user_id": None, "api_key_id": None, "model": name, "batch": None, "service_tier": None}
        result = {"object": f"organization.usage.{kind}.result", "num_model_requests": total.requests, "input_tokens": total.prompt, **common}
        if kind == "completions":
            result |= {"output_tokens": total.completion, "input_cached_tokens": total.cached, "input_audio_tokens": 0, "output_audio_tokens": 0}
        yield result


def _costs(used: Mapping[tuple[str, str], Used], start: int, groups: set[str]) -> Iterator[dict[str, Any]]:
    sums: dict[str | None, Decimal] = {}
    for (_, model), each in used.items():
        for direction, dollars in _dollars(model, each, start):
            item = f"{model}, {direction}" if "line_item" in groups else None
            sums[item] = sums.get(item, Decimal(0)) + dollars
    for item, dollars in sums.items():
        amount = {"value": float(dollars), "currency": "usd"}
        yield {"object": "organization.costs.result", "amount": amount, "line_item": item, "project_id": None, "api_key_id": None}


def _dollars(model: str, used: Used, at: int) -> Iterator[tuple[str, Decimal]]:
    from genai_prices import Usage, calc_price  # a slow import that only this needs
    from genai_prices.types import TieredPrices

    try:
        tokens = Usage(input_tokens=used.prompt, cache_read_tokens=used.cached, output_tokens=used.completion)
        price = calc_price(tokens, model, provider_id="openai", genai_request_timestamp=datetime.fromtimestamp(at, UTC))
    except LookupError:
        return
    if any(isinstance(each, TieredPrices) for each in vars(price.model_price).values()):
        return
    yield "input_tokens", price.input_price
    yield "output_tokens", price.output_price
