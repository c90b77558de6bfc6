"""Claims about reading a vLLM server's log."""

from __future__ import annotations

from pathlib import Path

from serving.progress import PHASES, failure, phase

LOG = Path("/data/local-0.log")


def test_the_phase_is_the_last_one_reached() -> None:
    """From importing to warming up, in the order of the log."""
    assert phase([]) == "importing vLLM"
    lines = []
    for mark, meaning in PHASES:
        lines.append(f"(APIServer pid=1) INFO 11-24 07:49:36 [x.py:1] {mark} and more")
        assert phase(lines) == meaning


def test_a_failure_names_its_cause_and_the_log() -> None:
    """The last real error of the log, not the noise around it, and exit code 0 is a failure too."""
    lines = [
        "(EngineCore) ERROR ValueError: Unknown quantization method: bitsandbytes.",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    assert failure(1, lines, LOG) == "the vLLM server ended with exit code 1: ValueError: Unknown quantization method: bitsandbytes. (log: /data/local-0.log)"
    assert failure(0, [], LOG) == "the vLLM server ended with exit code 0 (log: /data/local-0.log)"
    assert failure(2, ["api_server.py: error: unrecognized arguments: --x"], LOG).startswith(
        "the vLLM server ended with exit code 2: error: unrecognized arguments"
    )


def test_a_kill_has_no_cause_in_the_log() -> None:
    """A line of the log would only be taken for it."""
    assert failure(137, ["OSError: too many open files"], LOG) == "the vLLM server was killed by signal 9 (log: /data/local-0.log)"
