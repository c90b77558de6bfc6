"""training/advice.py: what should be known about examples that may be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.errors import ConfigError, DataError
from training import chat, commands, dataset
from training.advice import advice
from training.chat import Example


def example(line: int, answer: str, asked: str = "") -> Example:
    made = chat.from_messages([{"role": "user", "content": asked or f"number {line}"}, {"role": "assistant", "content": answer}], [], line)
    assert isinstance(made, Example)
    return made


def said(examples: list[Example]) -> str:
    return "\n".join(str(problem) for problem in advice(examples, "f.jsonl"))


@pytest.mark.parametrize(("count", "word"), [(12, "few"), (200, "500 to 5000 is usual"), (6000, "rarely pays")])
def test_size(count: int, word: str) -> None:
    """Too few, few, more than pays; in between nothing is said."""
    assert word in said([example(i, f"answer {i} {i * 7}") for i in range(count)])


def test_nothing_to_say() -> None:
    """Enough different examples in one form."""
    examples = [example(i, json.dumps({"team": ("a", "b", "c")[i % 3], "order": f"{i}-{i * 31}"})) for i in range(600)]
    assert advice(examples) == []


def test_a_value_that_dominates_and_values_hardly_seen() -> None:
    """By field of a JSON answer, and by whole answer where answers are labels."""
    fields = [example(i, json.dumps({"team": "rare" if i == 7 else "a" if i % 10 else "b", "order": f"x{i}"})) for i in range(100)]
    assert "the field 'team' is \"a\" in 89% of the examples" in said(fields)
    assert "the field 'team' has 1 value(s) with fewer than 5 examples: \"rare\"" in said(fields)
    assert "'order'" not in said(fields)
    labels = [example(i, "yes" if i % 12 else "no") for i in range(60)]
    assert 'the answer is "yes" in 92% of the examples' in said(labels)


def test_undecided_about_the_form() -> None:
    """A few answers that are no JSON, and a few with other keys."""
    answers = [json.dumps({"team": "a" if i % 2 else "b"}) for i in range(40)]
    answers[3], answers[5] = "Sure! Here you are.", json.dumps({"Team": "a"})
    text = said([example(i, answer) for i, answer in enumerate(answers)])
    assert "1 of 40 answers are no JSON object although the others are: line 3" in text
    assert "1 of 39 JSON answers have other keys than the usual team: line 5" in text


def test_personal_data_is_found_and_taken_out(tmp_path: Path) -> None:
    """Found in questions and answers; `--redact` leaves the names of what was there, and another digest."""
    rows = [example(i, f"done {i}", f"number {i * 97}, write to jo{i}@example.com" if i < 3 else f"number {i * 97} {i}") for i in range(30)]
    assert "3 example(s) hold what looks like e-mail addresses" in said(rows)
    source = tmp_path / "f.jsonl"
    source.write_text("".join(row.as_line() + "\n" for row in rows))
    plain = commands.build_dataset(None, None, source, tmp_path / "a")
    clean = commands.build_dataset(None, None, source, tmp_path / "b", commands.Wanted(blot=("email",)))
    assert plain["digest"] != clean["digest"]
    assert clean["source"]["redacted"] == ["email"]
    text = "".join(path.read_text() for path in (tmp_path / "b").glob("*.jsonl"))
    assert (text.count("[email]"), "@" in text) == (3, False)
    with pytest.raises(ConfigError, match="--redact iban: there is card, email, phone"):
        commands.kinds_of_personal_data(["iban"])


def test_leaks_into_what_it_is_judged_on(tmp_path: Path) -> None:
    """Equal and nearly equal questions are named with both lines; others are not."""
    long = "my parcel with the blue lamp has not arrived although the tracking page says it was handed over on monday"
    train = [example(i + 1, "a", f"{long}!" if i == 4 else f"question {i * 131} {i}") for i in range(12)]
    judged = [example(i + 1, "a", long if i == 2 else f"other thing {i * 977} {i}") for i in range(12)]
    for name, rows in (("train", train), ("judged", judged)):
        (tmp_path / f"{name}.jsonl").write_text("".join(row.as_line() + "\n" for row in rows))
    first = commands.check_dataset(tmp_path / "train.jsonl", tmp_path / "judged.jsonl")["warnings"][0]
    assert first["line"] == 5
    assert "line 5 is line 3 there" in first["message"]
    assert dataset.leaks(train, judged[:2], None, "x") == []
    assert dataset.leaks(train, [], None, "x") == []
    with pytest.raises(DataError):
        commands.check_dataset(tmp_path / "train.jsonl", tmp_path / "missing.jsonl")


def test_prompt_and_completion_lines() -> None:
    """OpenAI's older format is the conversation it stands for; a mixture is a problem."""
    made = chat.parse('{"prompt": "2+2?", "completion": " 4"}', 1)
    assert isinstance(made, Example)
    assert [dict(message) for message in made.messages] == [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    assert not isinstance(chat.parse('{"prompt": "2+2?", "completion": 4}', 1), Example)
    assert not isinstance(chat.parse('{"prompt": "2+2?", "completion": ""}', 1), Example)
