"""What a vLLM server's log means to an operator: what it is doing while it starts, and why it ended. Pure text in, sentence out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# Fragments of vLLM's own log lines, in the order in which they appear; the last one found is where it is.
PHASES = (
    ("vLLM API server version", "reading options"),
    ("Resolved architecture", "reading the model's configuration"),
    ("Initializing a V1 LLM engine", "starting the engine"),
    ("Starting to load model", "loading model"),
    ("Loading safetensors", "loading model"),
    ("Loading weights took", "model loaded, preparing memory"),
    ("GPU KV cache size", "preparing memory"),
    ("CPU KV cache size", "preparing memory"),
    ("init engine", "engine ready, opening the server"),
    ("Application startup complete", "warming up"),
)
_ERROR = re.compile(r"((?:[A-Z]\w*(?:Error|Exception|Interrupt))\b.*|error: .*)")
_NOISE = re.compile(r"Engine core initialization failed|EngineDeadError|See (?:root cause|stack trace)|resource_tracker")


def phase(lines: Sequence[str]) -> str:
    """What it is doing, from the last lines of its log."""
    text = "\n".join(lines)
    doing = "importing vLLM"
    for mark, meaning in PHASES:
        if mark in text:
            doing = meaning
    return doing


def failure(code: int, lines: Sequence[str], log: Path) -> str:
    """Why it ended, in one sentence: exit code, the most telling line of its log, and where the log is."""
    if code > 128:  # a line of its log would only be taken for the cause
        return f"the vLLM server was killed by signal {code - 128} (log: {log})"
    errors = [match[1].strip() for line in lines if (match := _ERROR.search(line)) and not _NOISE.search(line)]
    said = f": {errors[-1][:300]}" if errors else ""
    return f"the vLLM server ended with exit code {code}{said} (log: {log})"
