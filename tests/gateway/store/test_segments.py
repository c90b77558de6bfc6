"""Files, generations and locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store import segments
from tests.patience import read_line


def test_files_are_listed_by_generation_in_their_order(tmp_path: Path) -> None:
    """Other files are none of ours, and the tenth file comes after the ninth."""
    held = [segments.create(tmp_path, generation, number, b"h\n", fsync=True)[1] for generation in ("w1.ab", "w0.cd") for number in (10, 9)]
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".w1.ab.000011.spool").write_text("half made")
    found = segments.listed(tmp_path)
    assert {generation: [s.sequence for s in files] for generation, files in found.items()} == {"w0.cd": [9, 10], "w1.ab": [9, 10]}
    assert found["w0.cd"][0].worker == "w0"
    for descriptor in held:
        os.close(descriptor)


def test_a_generation_is_dead_when_its_process_is(tmp_path: Path) -> None:
    """Alive while another process holds the newest file, dead the moment that process is killed."""
    code = (
        "import sys, pathlib; from gateway.store import segments; "
        "segments.create(pathlib.Path(sys.argv[1]), 'w0.ab', 0, b'h', fsync=False); print('up', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert read_line(process) == b"up\n"
    assert not segments.dead(tmp_path, "w0.ab")
    process.kill()
    process.wait(30)
    process.stdin.close()
    process.stdout.close()
    assert segments.dead(tmp_path, "w0.ab")
    assert not segments.dead(tmp_path, "w9.ff")


def test_a_writer_that_moves_on_meanwhile_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older file is unlocked once the newer is there: seeing only the older one free does not make the writer dead."""
    _, first = segments.create(tmp_path, "w0.ab", 0, b"h", fsync=False)
    listing = segments.listed
    calls = []

    def listed_then_rotated(directory: Path) -> dict[str, list[segments.Segment]]:
        found = listing(directory)
        if not calls:
            calls.append(segments.create(tmp_path, "w0.ab", 1, b"h", fsync=False)[1])
            os.close(first)
        return found

    monkeypatch.setattr(segments, "listed", listed_then_rotated)
    assert not segments.dead(tmp_path, "w0.ab")
    os.close(calls[0])


def test_a_file_that_cannot_be_begun_leaves_nothing(tmp_path: Path) -> None:
    """When the file system refuses, no half-made file stays behind."""
    with pytest.raises(OSError, match="No such file"):
        segments.create(tmp_path / "gone", "w0.ab", 0, b"h", fsync=False)
    with pytest.raises(OSError, match="No space left"):
        segments.write_whole(os.open("/dev/full", os.O_WRONLY), b"h")
    assert list(tmp_path.iterdir()) == []
