"""BM25 against its formula, and how texts become passages."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import DataError
from serving import retrieval
from serving.retrieval import K1, B, Index

TEXTS = ("the parcel is late", "the invoice is wrong and the invoice is late", "hello", "")


def score(question: str, number: int) -> float:
    """The formula of the module, written down once more from its docstring."""
    every = [retrieval.words(text) for text in TEXTS]
    mean = sum(map(len, every)) / len(every)
    total = 0.0
    for word in set(retrieval.words(question)):
        n = sum(word in words for words in every)
        tf = every[number].count(word)
        total += math.log(1 + (len(every) - n + 0.5) / (n + 0.5)) * tf / (tf + K1 * (1 - B + B * len(every[number]) / mean))
    return total


@pytest.mark.parametrize("question", ["late invoice", "the parcel", "LATE", "hello hello invoice"])
def test_the_order_is_the_formulas(question: str) -> None:
    """Texts come by their score, best first; those without a word of the question not at all."""
    wanted = sorted((n for n in range(len(TEXTS)) if score(question, n) > 0), key=lambda n: (-score(question, n), n))
    assert Index(TEXTS).best(question, 10) == wanted


def test_only_k_are_found() -> None:
    """And none where nothing fits, or nothing is there."""
    assert Index(TEXTS).best("late", 1) == [0]
    assert Index(TEXTS).best("zebra", 5) == []
    assert Index(()).best("zebra", 5) == []


def test_case_and_accents_do_not_count() -> None:
    """A customer who types without accents finds the same."""
    assert Index(("Où est mon café ?", "nothing")).best("CAFE", 2) == [0]


@given(st.text(max_size=6000), st.integers(20, 400))
@settings(max_examples=60, deadline=None)
def test_pieces_lose_no_word(text: str, size: int) -> None:
    """Every piece has at most the size, and together they have all the text but the space between."""
    found = list(retrieval.pieces(text, size))
    assert all(0 < len(piece) <= size for piece in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_heading_stays_with_its_paragraph() -> None:
    """A passage is not cut between a heading and what it is about."""
    found = list(retrieval.pieces("a" * 40 + "\n\n# Returns\n\n" + "b" * 30, 60))
    assert found[-1].startswith("# Returns") or "# Returns\n\nb" in found[-1]


def test_a_directory_is_read_whole(tmp_path: Path) -> None:
    """Texts at any depth, in the order of their names; other files are left alone."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.md").write_text("second")
    (tmp_path / "deep" / "a.txt").write_text("third")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "picture.png").write_bytes(b"\xff\xfe")
    assert [(passage.text, passage.source) for passage in retrieval.passages(tmp_path)] == [("first", "a.txt"), ("second", "b.md"), ("third", "deep/a.txt")]
    assert [passage.source for passage in retrieval.passages(tmp_path / "b.md")] == ["b.md"]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Nothing there, not UTF-8, gone."""
    with pytest.raises(DataError, match="holds no text"):
        retrieval.passages(tmp_path)
    (tmp_path / "x.txt").write_bytes(b"ok \xff")
    with pytest.raises(DataError, match=r"not UTF-8 \(byte 4\)"):
        retrieval.passages(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        retrieval.passages(tmp_path / "nobody.txt")
