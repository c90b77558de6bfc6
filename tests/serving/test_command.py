"""Claims about the command line and environment of a vLLM server."""

from __future__ import annotations

import pytest

from router.errors import ConfigError
from serving.command import Host, Launch, command, rank_limit

CPU = Host(cpu=True, cores=2)
GPU = Host(cpu=False, cores=64)


def launch(**more: object) -> Launch:
    return Launch("local", "/models/base", "/venv/bin/python", **more)  # type: ignore[arg-type]


def value(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_what_every_server_gets() -> None:
    """The interpreter, loopback, the engine's name as the served name, LoRA, one API server, details of cached tokens, a drain time."""
    argv, env = command(launch(), GPU, 4711)
    assert argv[:3] == ["/venv/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert [value(argv, o) for o in ("--host", "--port", "--model", "--served-model-name")] == ["127.0.0.1", "4711", "/models/base", "local"]
    assert [value(argv, o) for o in ("--max-loras", "--max-lora-rank", "--api-server-count", "--shutdown-timeout")] == ["8", "32", "1", "20"]
    assert {"--enable-lora", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"} <= set(argv)
    assert env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert env["VLLM_COMPUTE_NANS_IN_LOGITS"] == "1"


def test_a_gpu_host_is_left_plain() -> None:
    """No CPU setting leaks to a GPU: no eager mode, no float32, no thread counts."""
    argv, env = command(launch(), GPU, 1)
    assert not {"--enforce-eager", "--dtype"} & set(argv)
    assert not {"OMP_NUM_THREADS", "TORCH_COMPILE_DISABLE", "VLLM_CPU_KVCACHE_SPACE"} & set(env)


def test_a_cpu_host_gets_what_was_measured_to_help() -> None:
    """Float32 for exact parity, eager, one process less, no core binding; one core stays with the gateway."""
    argv, env = command(launch(), CPU, 1)
    assert value(argv, "--dtype") == "float32"
    assert "--enforce-eager" in argv
    assert (env["VLLM_ENABLE_V1_MULTIPROCESSING"], env["VLLM_CPU_OMP_THREADS_BIND"], env["OMP_NUM_THREADS"]) == ("0", "nobind", "1")
    assert command(launch(replicas=2), Host(cpu=True, cores=9), 1)[1]["OMP_NUM_THREADS"] == "4"


def test_room_for_every_adapter() -> None:
    """The CPU cache holds all that are loaded and the next ones: an evicted adapter is read from disk in the middle of a step."""
    assert value(command(launch(), GPU, 1)[0], "--max-cpu-loras") == "16"
    assert value(command(launch(), GPU, 1, adapters=30)[0], "--max-cpu-loras") == "38"


def test_what_the_user_wrote_wins() -> None:
    """args come last, a given dtype is not given twice, env overrides ours."""
    argv, env = command(launch(args=("--dtype=bfloat16", "--max-model-len", "4096"), env={"OMP_NUM_THREADS": "7"}), CPU, 1)
    assert "float32" not in argv
    assert argv[-3:] == ["--dtype=bfloat16", "--max-model-len", "4096"]
    assert env["OMP_NUM_THREADS"] == "7"


def test_options_an_older_vllm_lacks_are_left_out() -> None:
    """Only what the installed version knows is passed."""
    argv, _ = command(launch(), Host(cpu=False, cores=1, flags=frozenset({"--api-server-count"})), 1)
    assert "--api-server-count" in argv
    assert not {"--shutdown-timeout", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"} & set(argv)


def test_a_local_model_needs_no_hub() -> None:
    """A directory is never looked up on the network; a hub id may be."""
    assert command(launch(local_model=True), GPU, 1)[1]["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in command(launch(), GPU, 1)[1]


@pytest.mark.parametrize(("rank", "limit"), [(1, 1), (2, 8), (8, 8), (9, 16), (32, 32), (33, 64), (400, 512)])
def test_ranks_are_rounded_up_to_what_vllm_accepts(rank: int, limit: int) -> None:
    """vLLM takes a few values only."""
    assert rank_limit(rank) == limit


def test_values_that_cannot_work_are_problems() -> None:
    """What we set ourselves may not be set again, and a rank above 512 is too much; each names its key."""
    found = launch(args=("--port", "1", "--served-model-name=x"), max_lora_rank=600).problems()
    assert [str(problem).split(":")[0] for problem in found] == ["engines.local.args", "engines.local.args", "engines.local.max_lora_rank"]
    assert launch().problems() == ()
    with pytest.raises(ConfigError, match="too high"):
        rank_limit(600)


def test_the_head_is_not_prepared_for_lora() -> None:
    """Only the seven modules that an adapter may have; what the user wrote wins, and a vLLM that does not know the option is not given it."""
    argv, _ = command(launch(), CPU, 1)
    at = argv.index("--lora-target-modules")
    assert argv[at + 1 : at + 9] == ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "--api-server-count"]
    assert command(launch(args=("--lora-target-modules=q_proj",)), CPU, 1)[0].count("--lora-target-modules") == 0
    assert "--lora-target-modules" not in command(launch(), Host(cpu=True, cores=2, flags=frozenset()), 1)[0]
