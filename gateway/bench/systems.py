"""What is measured and what it is measured against, each started on the stand: the upstream alone, our gateway with everything on, nginx, LiteLLM.

All stand before the same upstream and get the same request. Nothing here measures.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from gateway.bench import messages, procfs
from gateway.bench.caller import Job
from gateway.bench.stand import Process, Stand, free_port
from gateway.config.load import load
from gateway.store import keys
from gateway.store.schema import upgrade
from gateway.store.tables import exchanges
from router.errors import BreakevenError
from serving.database import connect, reading, writing

HOST = "127.0.0.1"
UPSTREAM, GATEWAY, NGINX, LITELLM = "upstream", "breakeven", "nginx", "litellm"
_ROUTE = "assistant"
_READY_S, _LITELLM_READY_S = 60.0, 180.0
_LEDGER_S, _POLL_S = 30.0, 0.1


@dataclass(frozen=True, slots=True)
class System:
    """Something that answers chats. `workers` are the processes on the way of a request, `controller` what books it beside them."""

    name: str
    port: int
    model: str
    key: str = field(repr=False)
    process: Process
    workers: tuple[int, ...]
    controller: int | None = None
    config: Path | None = None
    ready_s: float = 0.0

    def job(self, clients: int, seconds: float, stream: str = "") -> Job:
        """Load for it: small chats, or `stream`s (messages.py)."""
        request = messages.request((HOST, self.port), self.model, self.key, stream).decode()
        return Job(HOST, self.port, request, clients, seconds, bool(stream))

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds so far of workers and controller."""
        return sum(map(procfs.cpu_s, self.workers)), procfs.cpu_s(self.controller) if self.controller else 0.0

    def memory(self) -> procfs.Memory:
        """Of its largest worker."""
        found = [procfs.memory(pid) for pid in self.workers]
        return procfs.Memory(max(m.rss_mb for m in found), max(m.pss_mb for m in found))

    def booked(self) -> int:
        """Settled rows in the ledger; 0 for what keeps none."""
        if self.config is None:
            return 0
        config = load(self.config, {})
        database = connect(config.database, config.source.parent)
        try:
            with reading(database) as conn:
                return int(conn.execute(select(func.count()).select_from(exchanges)).scalar_one())
        finally:
            database.dispose()

    def settle(self, rows: int) -> None:
        """Wait until `rows` are in the ledger, so that no work of one measurement falls into the next. BreakevenError when no more come."""
        seen, since = 0, time.monotonic()
        while self.config is not None and (there := self.booked()) < rows:
            if there > seen:
                seen, since = there, time.monotonic()
            if time.monotonic() - since > _LEDGER_S:
                raise BreakevenError(f"{there} rows are in the ledger {_LEDGER_S:.0f} s after {rows} requests were answered:\n{self.process.said()}")
            time.sleep(_POLL_S)


def upstream(stand: Stand) -> System:
    """The upstream, asked without a gateway."""
    process = stand.start("upstream", [stand.python, "-m", "gateway.bench.upstream"], frozenset({stand.cores.upstream}), piped=True)
    if process.popen.stdout is None or not (line := process.popen.stdout.readline().strip()):
        raise BreakevenError(f"the upstream ended:\n{process.said()}")
    return System(UPSTREAM, int(line), messages.MODEL, "none", process, (process.pid,))


def gateway(stand: Stand, behind: System, cores: frozenset[int], workers: int = 1) -> System:
    """`breakeven serve` with a key, two candidates, its ledger and its metrics, all its processes on `cores`."""
    port, directory = free_port(), stand.scratch("gateway")
    config = directory / "breakeven.yaml"
    config.write_text(gateway_config(port, behind.port, workers))
    key = _key(config)
    process = stand.start("breakeven", [stand.python, "-m", "breakeven", "serve", "-c", str(config)], cores)
    ready_s = process.wait_ready(port, "/readyz", _READY_S)
    *serving, controller = procfs.children(process.pid)
    return System(GATEWAY, port, _ROUTE, key, process, tuple(serving), controller, config, ready_s)


def gateway_config(port: int, upstream_port: int, workers: int) -> str:
    """The text of its configuration (JSON is YAML)."""
    candidates = [{"provider": "openai", "model": model} for model in (messages.MODEL, "gpt-4o")]
    body: dict[str, object] = {
        "server": {"port": port, "workers": workers},
        "providers": {"openai": {"base_url": f"http://{HOST}:{upstream_port}/v1", "api_key": "k", "sandbox": True}},
        "routes": {_ROUTE: {"candidates": candidates}},
    }
    if workers > 1:
        body["redis"] = f"redis://{HOST}:1/0"  # required; nothing of this benchmark is shared between workers
    return json.dumps(body, indent=1)


def nginx(stand: Stand, behind: System) -> System | None:
    """A plain proxy: one process, keep-alive on both sides, nothing logged. None where nginx is not installed."""
    program = nginx_program(stand.environ)
    if program is None:
        return None
    port, directory = free_port(), stand.scratch("nginx")
    config = directory / "nginx.conf"
    config.write_text(nginx_config(directory, port, behind.port))
    process = stand.start("nginx", [program, "-e", str(directory / "error.log"), "-c", str(config)], frozenset({stand.cores.subject}))
    ready_s = process.wait_ready(port, "/ready", _READY_S)
    return System(NGINX, port, messages.MODEL, "none", process, (process.pid,), ready_s=ready_s)


def nginx_program(environ: Mapping[str, str]) -> str | None:
    """Where nginx is; Debian keeps it where only root looks."""
    return shutil.which("nginx", path=f"{environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def nginx_config(directory: Path, port: int, upstream_port: int) -> str:
    """The text of nginx.conf."""
    temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""\
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log crit;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; tcp_nodelay on; {temporary}
  upstream behind {{ server {HOST}:{upstream_port}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {HOST}:{port} backlog=4096;
    location = /ready {{ return 200; }}
    location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""


def litellm(stand: Stand, behind: System, python: str) -> System:
    """LiteLLM's proxy from the environment of `python`: one worker, a master key, two deployments of one model, no database."""
    port, directory, key = free_port(), stand.scratch("litellm"), "sk-benchmark"
    config = directory / "litellm.yaml"
    config.write_text(litellm_config(behind.port, key))
    words = [python, "-c", "from litellm import run_server; run_server()", "--config", str(config), "--host", HOST, "--port", str(port), "--num_workers", "1"]
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "NO_PROXY": HOST}
    process = stand.start("litellm", words, frozenset({stand.cores.subject}), environ=environ)
    ready_s = process.wait_ready(port, "/health/liveliness", _LITELLM_READY_S)
    return System(LITELLM, port, messages.MODEL, key, process, procfs.descendants(process.pid), ready_s=ready_s)


def litellm_config(upstream_port: int, key: str) -> str:
    """The text of its configuration (JSON is YAML)."""
    params = {"model": f"openai/{messages.MODEL}", "api_base": f"http://{HOST}:{upstream_port}/v1", "api_key": "k"}
    return json.dumps(
        {
            "model_list": [{"model_name": messages.MODEL, "litellm_params": params}] * 2,
            "general_settings": {"master_key": key},
            "litellm_settings": {"telemetry": False, "num_retries": 0},
        }
    )


def _key(config: Path) -> str:
    found = load(config, {})
    database = connect(found.database, found.source.parent)
    try:
        upgrade(database)
        with writing(database) as conn:
            return keys.create(conn, keys.KeySpec("benchmark"), 0.0)[1]
    finally:
        database.dispose()
