"""What every client's script does around its own calls: read where the gateway is, run the checks, print one JSON document. Standard library only.

A check returns what it saw. One that fails is reported with its exception: a script itself never fails.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import json
import os
import traceback
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any

BASE_URL = os.environ["CLIENT_BASE_URL"]
API_KEY = os.environ["CLIENT_API_KEY"]
MODEL = os.environ["CLIENT_MODEL"]
EMBEDDINGS = os.environ["CLIENT_EMBEDDINGS"]
QUESTION = "Where is it?"
# What the proxy between the gateway and its backend looks for: the stream of such a request is cut in its middle.
BROKEN = "Break off. Now."
TOOL_QUESTION = "Use get_weather."
MAX_TOKENS = 24
TIMEOUT_S = 90.0
NO_MODEL = "no/such-model"
BAD_KEY = "bk-wrong"
CITIES = ("Paris", "Rome")
WEATHER = "21 degrees"

Check = Callable[[], Any]


def told(error: BaseException) -> dict[str, Any]:
    """An exception as a client's user sees it."""
    kind = type(error)
    seen = {"raised": f"{kind.__module__.split('.')[0]}.{kind.__name__}", "message": str(error)[:400]}
    for name in ("status_code", "code"):
        if isinstance(value := getattr(error, name, None), (int, str)):
            seen[name] = value
    return seen


def refused(call: Check) -> dict[str, Any]:
    """How a call that must fail does."""
    try:
        return {"answered": repr(call())[:400]}
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked
        return told(error)


async def refused_async(call: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """How a call that must fail does."""
    try:
        return {"answered": repr(await call())[:400]}
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked
        return told(error)


def pieces(stream: Iterable[str | None]) -> dict[str, Any]:
    """The texts of a stream and how it ended."""
    seen: list[str] = []
    try:
        seen.extend(piece for piece in stream if piece)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked
        return {"pieces": seen, **told(error)}
    return {"pieces": seen}


async def pieces_async(stream: AsyncIterable[str | None]) -> dict[str, Any]:
    """The texts of a stream and how it ended."""
    seen: list[str] = []
    try:
        async for piece in stream:
            seen += [piece] if piece else []
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked
        return {"pieces": seen, **told(error)}
    return {"pieces": seen}


def weather(city: str) -> str:
    """The tool's answer."""
    if city not in CITIES:
        raise ValueError(f"no weather for {city!r}")
    return WEATHER


def print_report(package: str, checks: dict[str, Check]) -> None:
    """Run the checks one after the other, print what they saw."""
    seen = {name: _run(check) for name, check in checks.items()}
    print(json.dumps({"package": package, "version": importlib.metadata.version(package), "checks": seen}))


def _run(check: Check) -> Any:
    try:
        found = check()
        return asyncio.run(found) if inspect.iscoroutine(found) else found
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked
        return {"failed": "".join(traceback.format_exception(error))[-3000:]}
