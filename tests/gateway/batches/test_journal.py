"""What a batch has done survives whatever ends the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.batches.answers import CANCELLED, Answer, answered, unanswered
from gateway.batches.journal import Journal


def good(number: int) -> bytes:
    return answered("b", number, f"id-{number}", Answer(200, "r", b"{}"))


def filled(directory: Path) -> Journal:
    journal = Journal(directory)
    journal.answer("id-1", good(1), ok=True)
    journal.answer("id-2", good(2), ok=False)
    journal.give_up("id-3", unanswered("b", 3, "id-3", CANCELLED))
    return journal


def test_it_knows_what_is_done(tmp_path: Path) -> None:
    """Opened again without having been closed: the same counts, the same ids."""
    first = filled(tmp_path / "b")
    first.flush()
    first.flush()
    again = Journal(tmp_path / "b")
    for journal in (first, again):
        assert (journal.answered, journal.failed, journal.done) == (1, 1, {"id-1", "id-2", "id-3"})
        journal.close()
    assert again.output.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_a_cut_line_goes(tmp_path: Path, cut: int) -> None:
    """Wherever the last write was cut, the line is not done, and what is appended next is whole."""
    filled(tmp_path / "b").close()
    output = tmp_path / "b" / "output.jsonl"
    with output.open("ab") as file:
        file.write(good(4)[:-cut])
    journal = Journal(tmp_path / "b")
    assert journal.done == {"id-1", "id-2", "id-3"}
    journal.answer("id-4", good(4), ok=True)
    journal.close()
    assert output.read_bytes() == good(1) + good(4)


@pytest.mark.parametrize("rubbish", [b"\0" * 64, b"[]\n", b'{"x": 1}\n', b"{}\n"])
def test_what_is_no_line_goes(tmp_path: Path, rubbish: bytes) -> None:
    """As a power loss may leave it: everything from there on is cut off, and its requests are sent again."""
    filled(tmp_path / "b").close()
    with (tmp_path / "b" / "output.jsonl").open("ab") as file:
        file.write(rubbish + b"\n" + good(5))
    journal = Journal(tmp_path / "b")
    assert journal.done == {"id-1", "id-2", "id-3"}
    assert journal.output.read_bytes() == good(1)
    journal.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line does not count as done, and nothing of it stays."""
    journal = filled(tmp_path / "b")
    real, calls = os.write, [0]

    def write(descriptor: int, data: memoryview) -> int:
        calls[0] += 1
        if calls[0] > 1:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:5])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        journal.answer("id-9", good(9), ok=True)
    monkeypatch.undo()
    assert "id-9" not in journal.done
    assert journal.output.read_bytes() == good(1)
    journal.close()
