"""The clients, what they or a backend do not have, and the table in README.md: `python -m tests.clients.table` writes it from the last run's results."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.clients.installation import ROOT, Client

CLIENTS = (
    Client("openai", "with_openai.py", ours=True),
    Client("openai async", "with_openai_async.py", ours=True),
    Client("openai 2", "with_openai.py"),
    Client("openai 2 async", "with_openai_async.py"),
    Client("openai Node", "with_openai.mjs"),
    Client("Vercel AI SDK", "with_ai_sdk.mjs"),
    Client("LangChain", "with_langchain.py"),
    Client("LlamaIndex", "with_llama_index.py"),
    Client("Instructor", "with_instructor.py"),
    Client("Pydantic AI", "with_pydantic_ai.py"),
    Client("LiteLLM", "with_litellm.py"),
    Client("llm", "with_llm.py"),
)
# (backend or "", client or "", check): why there is nothing to test.
ABSENT: dict[tuple[str, str, str], str] = {
    ("vllm", "", "embeddings"): "a generating base is no embedding model",
    ("", "Instructor", "chat"): "Instructor has structured answers only",
    ("", "Instructor", "stream"): "Instructor has structured answers only",
    ("", "Instructor", "responses_stream"): "Instructor has structured answers only",
    ("", "Instructor", "responses_broken_stream"): "Instructor has structured answers only",
    ("", "Instructor", "embeddings"): "Instructor has structured answers only",
    ("", "LiteLLM", "responses_broken_stream"): "LiteLLM asks for the whole answer and only pretends to stream a model it has no entry for",
    ("vllm", "llm", "tools"): "llm cannot insist on a tool, and the random model of this test calls none by itself",
    ("vllm", "Pydantic AI", "tools"): "an agent's loop leaves its tools to the model, and the random model of this test calls none by itself",
    ("", "llm", "embeddings"): "llm knows OpenAI's own embedding models only",
}

CHECKS = {
    "chat": "chat",
    "stream": "stream",
    "tools": "tools",
    "structured": "JSON schema",
    "responses": "responses",
    "responses_stream": "… streamed",
    "embeddings": "embeddings",
}
BACKENDS = ("sandbox", "vllm")
ERRORS = ("bad_key", "unknown_model", "broken_stream")
BEGIN, END = "<!-- clients: begin -->\n", "<!-- clients: end -->\n"


class Results:
    """What the scripts reported, in a file: `{backend: {client: report}}`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, backend: str, client: str, report: dict[str, Any]) -> None:
        """Keep one report."""
        known = self.read()
        known.setdefault(backend, {})[client] = report
        self.path.write_text(json.dumps(known, indent=1))

    def read(self) -> dict[str, dict[str, Any]]:
        """All there are."""
        found: dict[str, dict[str, Any]] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return found


def absent(backend: str, client: str, check: str) -> str | None:
    """Why there is nothing to test; None where there is."""
    asked = ((backend, client, check), ("", client, check), (backend, "", check))
    return next((ABSENT[key] for key in asked if key in ABSENT), None)


def rendered(results: dict[str, dict[str, Any]], day: str) -> str:
    """The table, in Markdown: a cell names the backends that it worked with."""
    head = ["client", *CHECKS.values(), "a broken stream raises"]
    lines = [f"{day}. S: sandbox provider, V: real vLLM (random tiny model), –: the client or the backend has no such thing, or the test cannot show it.", ""]
    lines += ["| " + " | ".join(head) + " |", "| --- |" + " --- |" * (len(head) - 1)]
    for client in CLIENTS:
        reports = {backend: results[backend][client.title] for backend in BACKENDS if client.title in results.get(backend, {})}
        if not reports:
            continue
        first = next(iter(reports.values()))
        name = client.title.removeprefix("openai 2").strip() if client.title.startswith("openai 2") else client.title
        name = f"openai {name}".strip() if client.title.startswith("openai 2") else name
        cells = ["".join(_mark(reports, backend, client.title, check) for backend in BACKENDS) or "–" for check in CHECKS]
        lines.append("| " + " | ".join([f"{name} {first['version']}", *cells, _exception(first["checks"]["broken_stream"])]) + " |")
    return "\n".join(lines) + "\n"


def _mark(reports: dict[str, Any], backend: str, client: str, check: str) -> str:
    """`S` or `V` where it worked, `✗` with it where it did not."""
    if backend not in reports or absent(backend, client, check) is not None:
        return ""
    seen = reports[backend]["checks"][check]
    return backend[0].upper() + ("✗" if "failed" in seen or "raised" in seen else "")


def _exception(seen: dict[str, Any]) -> str:
    raised = str(seen.get("raised", "no"))
    return raised if raised.startswith("exit") else f"`{raised.split('.')[-1]}`"


def main(results: Path, readme: Path) -> int:
    """Print the table and put it between the README's marks. 2 without results."""
    found = Results(results).read()
    if not found:
        sys.stderr.write(f"{results} has no results: run `make client-tests`\n")
        return 2
    table = rendered(found, datetime.fromtimestamp(results.stat().st_mtime, UTC).date().isoformat())
    sys.stdout.write(table)
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    readme.write_text(before + BEGIN + table + END + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(os.environ.get("CLIENTS_RESULTS", "client-results.json")), ROOT / "README.md"))
