"""`llm`, the command line, with the gateway in its extra-openai-models.yaml. It leaves tools to the model and cannot insist on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import report

HOME = Path(tempfile.mkdtemp())
FEATURES = "supports_tools: true, supports_schema: true"
SCHEMA = {"type": "object", "properties": {"label": {"enum": ["yes", "no"]}, "urgent": {"type": "boolean"}}, "required": ["label", "urgent"]}
CALLED = HOME / "called.txt"
FUNCTIONS = f"""\
def get_weather(city: str) -> str:
    "The weather."
    open({str(CALLED)!r}, "a").write("get_weather ")
    return {report.WEATHER!r}
"""
LIMIT = ("-o", "max_tokens", str(report.MAX_TOKENS), "-o", "temperature", "0")
(HOME / "extra-openai-models.yaml").write_text(
    "\n".join(
        f"- {{model_id: {name}, model_name: {model}, api_base: {json.dumps(report.BASE_URL)}, api_key_name: breakeven, {more}}}"
        for name, model, more in (
            ("gateway", report.MODEL, FEATURES),
            ("gateway-responses", report.MODEL, f"responses: true, {FEATURES}"),
            ("nothing", report.NO_MODEL, FEATURES),
        )
    )
)
(HOME / "keys.json").write_text(json.dumps({"breakeven": report.API_KEY}))


class CommandError(Exception):
    """The command ended with another code than 0."""


def llm(*words: str, model: str = "gateway") -> str:
    """What it prints. CommandError with what it complains of."""
    env = {**os.environ, "LLM_USER_PATH": str(HOME)}
    command = [sys.executable, "-m", "llm", "prompt", "-m", model, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=report.TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise CommandError(f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.stdout}")
    return done.stdout


def streamed(question: str, model: str = "gateway", *options: str) -> dict[str, Any]:
    """What a stream printed, and whether the command took it for a whole answer."""
    env = {**os.environ, "LLM_USER_PATH": str(HOME), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "llm", "prompt", "-m", model, *options, question]
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=report.TIMEOUT_S, check=False)
    seen: dict[str, Any] = {"pieces": [done.stdout.removesuffix("\n")] if done.stdout.strip() else []}
    if done.returncode != 0:
        complaint = done.stderr.strip().splitlines()
        seen |= {"raised": f"exit code {done.returncode}", "message": complaint[-1] if complaint else ""}
    return seen


def chat() -> dict[str, Any]:
    """A whole answer."""
    return {"text": llm("--no-stream", *LIMIT, report.QUESTION).removesuffix("\n")}


def tools() -> dict[str, Any]:
    """Its own loop: it calls the function and goes on with the result."""
    printed = llm("--no-stream", "--functions", FUNCTIONS, report.TOOL_QUESTION)
    return {"called": CALLED.read_text().split() if CALLED.exists() else [], "text": printed}


def structured() -> dict[str, Any]:
    """An answer in a shape."""
    found: dict[str, Any] = json.loads(llm("--no-stream", "--schema", json.dumps(SCHEMA), report.QUESTION))
    return found


report.print_report(
    "llm",
    {
        "chat": chat,
        "stream": lambda: streamed(report.QUESTION, "gateway", *LIMIT),
        "tools": tools,
        "structured": structured,
        "broken_stream": lambda: streamed(report.BROKEN, "gateway", *LIMIT),
        "responses": lambda: {"text": llm("--no-stream", report.QUESTION, model="gateway-responses")},
        "responses_stream": lambda: streamed(report.QUESTION, "gateway-responses"),
        "responses_broken_stream": lambda: streamed(report.BROKEN, "gateway-responses"),
        "bad_key": lambda: report.refused(lambda: llm("--key", report.BAD_KEY, report.QUESTION)),
        "unknown_model": lambda: report.refused(lambda: llm(report.QUESTION, model="nothing")),
    },
)
