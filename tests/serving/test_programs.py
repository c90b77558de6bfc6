"""Programs: what is put before a conversation, and that nothing of it is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import DataError
from serving import programs
from serving.programs import Spec

ASKED = [{"role": "user", "content": "Where is my red parcel?"}]
PAIRS = [("red parcel", "shipping"), ("blue invoice", "billing"), ("green login", "account"), ("parcel lost", "shipping")]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "s.txt").write_text("Answer with one word.\n")
    lines = [{"messages": [{"role": "system", "content": "no"}, {"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in PAIRS]
    (tmp_path / "shots.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("A red parcel is in Ulm.")
    (tmp_path / "docs" / "b.md").write_text("Blue invoices are paid in May.")
    return tmp_path


def turns(*numbers: int) -> list[dict[str, str]]:
    return [turn for n in numbers for turn in ({"role": "user", "content": PAIRS[n][0]}, {"role": "assistant", "content": PAIRS[n][1]})]


def test_a_system_text_comes_first(files: Path) -> None:
    """Before the client's own system text in one message; its role and other fields stay."""
    program = programs.load(Spec(system=files / "s.txt"))
    assert program.render(ASKED) == [{"role": "system", "content": "Answer with one word."}, *ASKED]
    own = [{"role": "developer", "content": "Be polite.", "name": "me"}, *ASKED]
    assert program.render(own) == [{"role": "developer", "content": "Answer with one word.\n\nBe polite.", "name": "me"}, *ASKED]
    parts = [{"role": "system", "content": [{"type": "text", "text": "Be polite."}]}, *ASKED]
    assert program.render(parts)[0]["content"] == [{"type": "text", "text": "Answer with one word."}, {"type": "text", "text": "Be polite."}]


def test_the_first_examples(files: Path) -> None:
    """As many as asked for, in the file's order, without their system texts, after the system text and before the conversation."""
    program = programs.load(Spec(system=files / "s.txt", examples=files / "shots.jsonl", k=2, select="first"))
    assert program.render(ASKED)[1:] == [*turns(0, 1), *ASKED]
    assert not program.looks_up


def test_the_most_similar_examples(files: Path) -> None:
    """The best one stands last, next to the question; where too few are alike the first ones fill up."""
    program = programs.load(Spec(examples=files / "shots.jsonl", k=2))
    assert program.looks_up
    assert program.render(ASKED) == [*turns(3, 0), *ASKED]
    assert program.render([{"role": "user", "content": "login?"}])[:-1] == turns(0, 2)
    assert programs.load(Spec(examples=files / "shots.jsonl", k=16)).render(ASKED) == [*turns(0, 1, 2, 3), *ASKED]


def test_passages_stand_in_the_last_user_message(files: Path) -> None:
    """What was found is put before the question; what comes after it, and other parts of it, stay."""
    program = programs.load(Spec(source=files / "docs", passages=1))
    said = program.render(ASKED)[0]["content"]
    assert said.startswith("Passages that may help:\n\n[a.md]\nA red parcel is in Ulm.")
    assert said.endswith("Where is my red parcel?")
    image = {"type": "image_url", "image_url": {"url": "x"}}
    tail = [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": "42", "tool_call_id": "c"}]
    rendered = program.render([{"role": "user", "content": [image, {"type": "text", "text": "red?"}]}, *tail])
    assert rendered[0]["content"][1:] == [image, {"type": "text", "text": "red?"}]
    assert "Ulm" in rendered[0]["content"][0]["text"]
    assert rendered[1:] == tail
    assert program.render([{"role": "user", "content": "zebra"}]) == [{"role": "user", "content": "zebra"}]
    assert program.render([]) == []


texts = st.text(max_size=30)
conversations = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]), "content": texts}), max_size=6)


@given(conversations)
@settings(max_examples=80, deadline=None)
def test_nothing_of_the_clients_is_lost(conversation: list[dict[str, Any]]) -> None:
    """Every message of the client is there in order, with its role, its text at the end of its content; and what it sent is not changed."""
    before = json.dumps(conversation)
    index = programs.Index(["a b c d e f 0 1"])
    program = programs.Program(
        Spec(passages=1), "S", (programs.Shot(({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}), "q"),), (programs.Passage("p", "f"),)
    )
    program = replace(program, passage_index=index)
    rendered = program.render(conversation)
    assert json.dumps(conversation) == before
    left = iter(rendered)
    for message in conversation:
        assert any(made["role"] == message["role"] and str(made["content"]).endswith(message["content"]) for made in left)
    assert len(rendered) == len(conversation) + 2 + (0 if conversation and conversation[0]["role"] in ("system", "developer") else 1)


def test_sizes_are_known_beforehand(files: Path) -> None:
    """Exact without a look-up; with one, never above the most."""
    fixed = programs.load(Spec(system=files / "s.txt", examples=files / "shots.jsonl", k=2, select="first"))
    added = sum(len(str(message["content"])) for message in fixed.render(ASKED)) - len(str(ASKED[0]["content"]))
    assert abs(fixed.bytes - added) <= 2
    found = programs.load(Spec(examples=files / "shots.jsonl", k=2, source=files / "docs", passages=1))
    added = sum(len(str(message["content"])) for message in found.render(ASKED)) - len(str(ASKED[0]["content"]))
    assert 0 < found.bytes <= found.most_bytes
    assert added <= found.most_bytes


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", "must look like"),
        ('{"messages": [1]}', "must look like"),
        ('{"messages": []}', "in turn"),
        ('{"messages": [{"role": "user", "content": "q"}]}', "in turn"),
        ('{"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "a"}]}', "text alone"),
        ('{"messages": [{"role": "tool", "content": "q"}, {"role": "assistant", "content": "a"}]}', "text alone"),
    ],
)
def test_a_wrong_example_is_said_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    """By file and line; all of them at once."""
    path = tmp_path / "x.jsonl"
    path.write_text(f"\n{line}\n{line}\n")
    found = programs.problems(Spec(examples=path))
    assert [(problem.file, problem.line) for problem in found] == [(str(path), 2), (str(path), 3)]
    assert said in found[0].message


def test_empty_and_missing_files_are_said(tmp_path: Path) -> None:
    """Every file of the program at once."""
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(DataError) as caught:
        programs.load(Spec(system=tmp_path / "empty", examples=tmp_path / "empty", source=tmp_path / "nobody"))
    assert len(caught.value.problems) == 3
    assert "UTF-8" in programs.problems(Spec(system=tmp_path / "latin"))[0].message
    assert "cannot be read" in programs.problems(Spec(examples=tmp_path / "nobody"))[0].message
