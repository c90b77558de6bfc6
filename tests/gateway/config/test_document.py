"""Reading a file: what can be wrong with it before a key is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.document import MAX_BYTES, FromEnvironment, dotted, from_text, read


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    """Missing, a directory, a file beneath a file, too large, not UTF-8."""
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    cases = {
        tmp_path / "none.yaml": "there is no such file",
        tmp_path: "is a directory",
        tmp_path / "latin.yaml" / "x": "cannot be read",
        tmp_path / "large.yaml": "is larger than",
        tmp_path / "latin.yaml": "is not UTF-8",
    }
    for path, part in cases.items():
        document = read(path, {})
        assert len(document.faults) == 1, path
        assert part in document.faults[0].message
        assert document.data == {}
    assert read(tmp_path / "latin.yaml", {}).faults[0].line == 2


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read(tmp_path / "c.yaml", {}).data == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "part"), [("", "is empty"), ("# only a comment\n", "is empty"), ("---\n", "is empty"), ("- a\n", "key: value"), ("hello\n", "key: value")]
)
def test_what_is_no_mapping_is_a_fault(text: str, part: str) -> None:
    """An empty file, a list and a word are told apart."""
    document = from_text(text, "f", {})
    assert [part in fault.message for fault in document.faults] == [True]


def test_places_point_at_the_nearest_thing_in_the_file() -> None:
    """A key that is not there has the line of the section it belongs in."""
    document = from_text("a:\n  b:\n    - c: 1\n", "f", {})
    assert document.place(("a", "b", 0, "c")).line == 3
    assert document.place(("a", "b", 0, "missing")).line == 3
    assert document.place(("a", "x", "y")).line == 1
    assert document.place(("z",)).line == 1
    assert document.place(("a", "b", 7)).line == 2


def test_keys_are_written_as_people_do() -> None:
    """Lists in brackets, mappings with dots."""
    assert dotted(("routes", "a", "candidates", 1, "model")) == "routes.a.candidates[1].model"


def test_values_from_the_environment_hide_in_messages() -> None:
    """They are text like any other, but their repr is not their content."""
    value = from_text('a: "${S}"\n', "f", {"S": "hunter2"}).data["a"]
    assert value == "hunter2"
    assert isinstance(value, FromEnvironment)
    assert "hunter2" not in repr(value)
