"""Stands in for LiteLLM where it is not installed: a slow proxy under its module name, its command line and its health page."""

from __future__ import annotations

import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def install(directory: Path) -> None:
    """Make `import litellm` find it below `directory`."""
    (directory / "litellm.py").write_text(Path(__file__).read_text())
    (directory / "litellm-0.0.1.dist-info").mkdir()
    (directory / "litellm-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 0.0.1\n")


def run_server() -> None:
    """What `litellm --config FILE --port N` runs."""
    config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    upstream = config["model_list"][0]["litellm_params"]["api_base"]
    key = config["general_settings"]["master_key"]

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200 if self.path == "/health/liveliness" else 404, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["authorization"] != f"Bearer {key}":
                self.answer(401, b"{}")
                return
            with urllib.request.urlopen(urllib.request.Request(f"{upstream}/chat/completions", body), timeout=30) as answer:
                self.answer(200, answer.read())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Proxy).serve_forever()
