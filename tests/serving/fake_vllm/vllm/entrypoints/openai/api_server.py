"""A stand-in for vLLM's server that starts in a tenth of a second: same command line, same endpoints and statuses, a helper process that outlives a kill.

Environment: FAKE_DIE=<code> ends at once with that code, FAKE_DEAF=1 ignores SIGTERM, FAKE_SICK=1 answers tokens with 500,
FAKE_SLOW=<s> sleeps before it opens.
An adapter's arithmetic is its directory's `fake.json`: {"shift": x} moves every log-probability by x; {"status": 500} refuses the load; {"nan": true};
{"says": text} answers with that. {"hold": [step, file]} stops at a load, verify or unload: the file is made, and the step goes on once there is one named .go.
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

COUNTED = ("vllm:prompt_tokens_total", "vllm:prompt_tokens_cached_total", "vllm:generation_tokens_total", "vllm:num_requests_running")


class Handler(BaseHTTPRequestHandler):
    """One server's answers. `serve` makes a class of its own for each server, with its names and what it has loaded."""

    protocol_version = "HTTP/1.1"
    base = model = ""
    adapters: dict[str, dict[str, object]]
    health = tokenizer = 200
    done: dict[str, float]
    page: str | None = None
    # Tokens per second: prompts of all, answers of one request, answers of all at most. 0: at once.
    speed = (0.0, 0.0, 0.0)
    stuck = 0  # batches of so many prompts are never answered
    corrupted = 0  # requests whose logits were not numbers
    mute = False  # neither counters nor usage, and no version

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def text(self, page: str) -> None:
        data = page.encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def batch(self, prompts: list[list[int]], tokens: int) -> None:
        """Answer them all in the time that `speed` says."""
        if self.stuck and len(prompts) >= self.stuck:
            time.sleep(600)
        if self.mute:
            return self.reply(200, {"choices": []})
        prefill, one, most = self.speed
        read, made = sum(map(len, prompts)), len(prompts) * tokens
        if prefill:
            self.done["vllm:num_requests_running"] += len(prompts)
            time.sleep(read / prefill + (tokens - 1) * len(prompts) / min(one * len(prompts), most))
            self.done["vllm:num_requests_running"] -= len(prompts)
        self.done["vllm:prompt_tokens_total"] += read
        self.done["vllm:generation_tokens_total"] += made
        return self.reply(200, {"choices": [{"text": "x"} for _ in prompts], "usage": {"prompt_tokens": read, "completion_tokens": made}})

    def error(self, status: int, message: str) -> None:
        self.reply(status, {"error": {"message": message, "type": "x", "code": status}})

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.reply(type(self).health, {})
        if self.mute and self.path in ("/metrics", "/version"):
            return self.error(404, "Not Found")
        if self.path == "/metrics":
            counters = {**self.done, "vllm:corrupted_requests_total": self.corrupted}
            return self.text(self.page if self.page is not None else "".join(f'{name}{{engine="0"}} {value}\n' for name, value in counters.items()))
        if self.path == "/version":
            return self.reply(200, {"version": "0.0.stand-in"})
        base = {"id": self.base, "root": self.model, "parent": None, "max_model_len": 64}
        return self.reply(200, {"data": [base, *({"id": n, "root": a["path"], "parent": self.base} for n, a in self.adapters.items())]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.startswith("/fake/"):
            setattr(type(self), self.path.removeprefix("/fake/"), body["status"])
            return self.reply(200, {})
        if self.path == "/tokenize":
            text = body["prompt"] if "prompt" in body else "".join(f"{m['role']}:{m['content']}\n" for m in body["messages"])
            if self.tokenizer >= 400:
                return self.error(self.tokenizer, "made up")
            return self.reply(200, {"tokens": list(text.encode())} if self.tokenizer == 200 else {})
        if self.path == "/v1/load_lora_adapter":
            return self.load(body["lora_name"], body["lora_path"])
        if self.path == "/v1/unload_lora_adapter":
            hold(self.adapters.get(body["lora_name"], {}), "unload")
            return self.reply(200, "ok") if self.adapters.pop(body["lora_name"], None) else self.error(404, "cannot be found")
        return self.complete(body)

    def load(self, name: str, path: str) -> None:
        if name in self.adapters:
            return self.error(400, f"The lora adapter '{name}' has already been loaded.")
        if not Path(path, "adapter_config.json").is_file():
            return self.error(404, f"No adapter found for {path}")
        fake = Path(path, "fake.json")
        more = json.loads(fake.read_text()) if fake.is_file() else {}
        hold(more, "load")
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
        prompt = body["prompt"]
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], list):
            return self.batch(prompt, int(str(body["max_tokens"])))
        choice: dict[str, object] = {"index": 0, "text": adapter.get("says", "x"), "finish_reason": "length"}
        if "prompt_logprobs" in body:
            hold(adapter, "verify")
            ids = list(prompt.encode()) if isinstance(prompt, str) else list(prompt)
            values = [-1.0 - i / 1000 + float(adapter.get("shift", 0.0)) for i in ids[1:]]
            choice["prompt_logprobs"] = [None, *({str(i): {"logprob": v}} for i, v in zip(ids[1:], values, strict=True))]
        self.done["vllm:prompt_tokens_total"] += len(prompt)
        self.done["vllm:generation_tokens_total"] += 1
        usage = {"prompt_tokens": len(prompt), "completion_tokens": 1, "total_tokens": len(prompt) + 1}
        return self.reply(200, {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": name, "choices": [choice], "usage": usage})


def hold(adapter: dict[str, object], step: str) -> None:
    """Stop at a step of an adapter's way for as long as its file is there."""
    wanted = adapter.get("hold")
    if isinstance(wanted, list) and wanted[0] == step:
        place = Path(str(wanted[1]))
        while not place.with_suffix(".go").exists():
            place.touch()
            time.sleep(0.01)


class Server(ThreadingHTTPServer):
    """A stand-in on a port of the system's choice or a given one."""

    daemon_threads = True

    def __init__(self, base: str, model: str, port: int = 0) -> None:
        handler = type("Handler", (Handler,), {"base": base, "model": model, "adapters": {}, "done": dict.fromkeys(COUNTED, 0)})
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
