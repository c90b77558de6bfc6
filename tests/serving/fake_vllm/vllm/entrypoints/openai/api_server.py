"""A stand-in for vLLM's server that starts in a tenth of a second: same command line, same endpoints and statuses, a helper process that outlives a kill.

Environment: FAKE_DIE=<code> ends at once with that code, FAKE_DEAF=1 ignores SIGTERM, FAKE_SICK=1 answers tokens with 500,
FAKE_SLOW=<s> sleeps before it opens.
An adapter's arithmetic is its directory's `fake.json`: {"shift": x} moves every log-probability by x; {"status": 500} refuses the load; {"nan": true}.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """One server's answers. `serve` makes a class of its own for each server, with its names and what it has loaded."""

    protocol_version = "HTTP/1.1"
    base = model = ""
    adapters: dict[str, dict[str, object]]
    health = tokenizer = 200

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def error(self, status: int, message: str) -> None:
        self.reply(status, {"error": {"message": message, "type": "x", "code": status}})

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.reply(type(self).health, {})
        base = {"id": self.base, "root": self.model, "parent": None, "max_model_len": 64}
        return self.reply(200, {"data": [base, *({"id": n, "root": a["path"], "parent": self.base} for n, a in self.adapters.items())]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/fake/health":
            type(self).health = body["status"]
            return self.reply(200, {})
        if self.path == "/fake/tokenizer":
            type(self).tokenizer = body["status"]
            return self.reply(200, {})
        if self.path == "/tokenize":
            text = "".join(f"{m['role']}:{m['content']}\n" for m in body["messages"])
            if self.tokenizer >= 400:
                return self.error(self.tokenizer, "made up")
            return self.reply(200, {"tokens": list(text.encode())} if self.tokenizer == 200 else {})
        if self.path == "/v1/load_lora_adapter":
            return self.load(body["lora_name"], body["lora_path"])
        if self.path == "/v1/unload_lora_adapter":
            return self.reply(200, "ok") if self.adapters.pop(body["lora_name"], None) else self.error(404, "cannot be found")
        return self.complete(body)

    def load(self, name: str, path: str) -> None:
        if name in self.adapters:
            return self.error(400, f"The lora adapter '{name}' has already been loaded.")
        if not Path(path, "adapter_config.json").is_file():
            return self.error(404, f"No adapter found for {path}")
        fake = Path(path, "fake.json")
        more = json.loads(fake.read_text()) if fake.is_file() else {}
        if more.get("status"):
            return self.error(more["status"], "Call to add_lora method failed: made up")
        self.adapters[name] = {"path": path, **more}
        return self.reply(200, "Success")

    def complete(self, body: dict[str, object]) -> None:
        if os.environ.get("FAKE_SICK"):
            return self.error(500, "EngineCore encountered an issue.")
        name = body["model"]
        if name != self.base and name not in self.adapters:
            return self.error(404, f"The model `{name}` does not exist.")
        adapter = self.adapters.get(str(name), {})
        if adapter.get("nan"):
            return self.error(400, "Out of range float values are not JSON compliant")
        choice: dict[str, object] = {"text": "x"}
        if "prompt_logprobs" in body:
            prompt = body["prompt"]
            ids = list(prompt.encode()) if isinstance(prompt, str) else list(prompt)
            values = [-1.0 - i / 1000 + float(adapter.get("shift", 0.0)) for i in ids[1:]]
            choice["prompt_logprobs"] = [None, *({str(i): {"logprob": v}} for i, v in zip(ids[1:], values, strict=True))]
        return self.reply(200, {"choices": [choice], "usage": {"completion_tokens": 1}})


class Server(ThreadingHTTPServer):
    """A stand-in on a port of the system's choice or a given one."""

    daemon_threads = True

    def __init__(self, base: str, model: str, port: int = 0) -> None:
        handler = type("Handler", (Handler,), {"base": base, "model": model, "adapters": {}})
        super().__init__(("127.0.0.1", port), handler)


def main() -> None:
    parser = ArgumentParser()
    for option in ("--port", "--served-model-name", "--model"):
        parser.add_argument(option)
    known, _ = parser.parse_known_args()
    if code := os.environ.get("FAKE_DIE"):
        print("ValueError: the model is not to my taste", flush=True)
        sys.exit(int(code))
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # what EngineCore is to vLLM
    time.sleep(float(os.environ.get("FAKE_SLOW", "0")))
    if os.environ.get("FAKE_DEAF"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("Application startup complete", flush=True)
    Server(known.served_model_name, known.model, int(known.port)).serve_forever()


if __name__ == "__main__":
    main()
