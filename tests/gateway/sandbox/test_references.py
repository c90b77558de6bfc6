"""Reference answers and the errors made on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.sandbox.references import Reference, ReferenceBook, last_user, load
from router.errors import DataError

REFERENCES = [Reference(f"t {n}", json.dumps({"intent": "ab"[n % 2], "order": f"A{n}"})) for n in range(1000)]


def ask(book: ReferenceBook, text: str) -> str | None:
    return book.answer([{"role": "system", "content": "s"}, {"role": "user", "content": text}])


def test_an_answer_is_found_whatever_the_white_space() -> None:
    """Only the words of the last user message decide."""
    book = ReferenceBook([Reference("My order\n is  late", "yes")], 0, 1)
    assert ask(book, " My order is late ") == "yes"
    assert ask(book, "My order was late") is None
    assert last_user([{"role": "user", "content": "first"}, {"role": "user", "content": [{"type": "text", "text": "last"}]}]) == "last"
    assert last_user([]) == ""


def test_the_share_of_wrong_answers_is_the_stated_one_and_always_the_same() -> None:
    """6 % of a thousand conversations are wrong, the same ones on every run; another seed errs elsewhere."""
    books = [ReferenceBook(REFERENCES, 0.06, seed) for seed in (1, 1, 2)]
    wrong = [{r.prompt for r in REFERENCES if ask(book, r.prompt) != r.answer} for book in books]
    assert 40 <= len(wrong[0]) <= 80
    assert wrong[0] == wrong[1] != wrong[2]


def test_a_wrong_answer_is_well_formed_and_differs_in_one_field() -> None:
    """It is JSON with the same keys in the same writing, one value taken from another reference."""
    book = ReferenceBook(REFERENCES, 1.0, 1)
    for reference in REFERENCES[:50]:
        answer = ask(book, reference.prompt)
        assert answer is not None
        right, given = json.loads(reference.answer), json.loads(answer)
        assert list(right) == list(given)
        assert sum(right[name] != given[name] for name in right) == 1
        assert answer == json.dumps(given)
    compact = ReferenceBook([Reference("a", '{"x":1}'), Reference("b", '{"x":2}')], 1.0, 1)
    assert ask(compact, "a") == '{"x":2}'


def test_a_text_answer_is_wrong_by_being_another_ones() -> None:
    """Where an answer is no JSON object, another reference's answer is given; a lone one is negated."""
    assert ask(ReferenceBook([Reference("a", "yes"), Reference("b", "[1]")], 1.0, 1), "a") == "[1]"
    assert ask(ReferenceBook([Reference("a", "yes")], 1.0, 1), "a") == "Not yes"


def test_a_file_is_read_and_its_bad_lines_are_all_named(tmp_path: Path) -> None:
    """Every line that is not a reference is reported with its number, blank lines are not."""
    file = tmp_path / "ref.jsonl"
    good = json.dumps({"messages": [{"role": "user", "content": "q"}], "answer": "a"})
    file.write_text(f"{good}\n\n")
    assert load(file) == (Reference("q", "a"),)
    file.write_text(
        "\n".join([good, "{", '{"messages": []}', '{"messages": [], "answer": "x"}', '{"messages": [{"role": "user", "content": "q"}], "answer": 5}', "[]"])
    )
    with pytest.raises(DataError) as caught:
        load(file)
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5, 6]
