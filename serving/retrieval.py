"""Finding the passages that a question is about: BM25 over texts in memory. Pure apart from reading the files; nothing is asked of a network.

Okapi BM25 (Robertson and Zaragoza, 2009) as Lucene has it: the score of a passage is the sum, over the question's distinct words, of
idf x tf / (tf + K1 x (1 - B + B x length / mean length)) with idf = ln(1 + (N - n + 0.5) / (n + 0.5)), n of N passages having the word.
Words are runs of letters and digits, case and accents folded. Not here: what is done with the passages (programs.py), embeddings.
"""

from __future__ import annotations

import heapq
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.errors import DataError

K1, B = 1.2, 0.75
SUFFIXES = frozenset({".txt", ".md", ".rst"})
PASSAGE_CHARS = 1200  # about 300 tokens: some paragraphs, so that five of them leave room for the conversation
_MOST_BYTES = 16 * 1024 * 1024  # an index of ten times that in memory; beyond it a database is the right tool
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text and the file it is from."""

    text: str
    source: str


class Index:
    """An inverted index over texts. Built once, read by any thread."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [Counter(words(text)) for text in texts]
        lengths = [sum(counts.values()) for counts in counted]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        self._norms = [K1 * (1.0 - B + B * length / mean) for length in lengths]
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for number, counts in enumerate(counted):
            for word, times in counts.items():
                self._postings.setdefault(word, []).append((number, times))

    def best(self, question: str, k: int) -> list[int]:
        """The numbers of the (at most) `k` best texts, best first; texts without a word of the question are not among them."""
        scores: dict[int, float] = {}
        for word in dict.fromkeys(words(question)):
            found = self._postings.get(word, ())
            idf = math.log(1.0 + (len(self._norms) - len(found) + 0.5) / (len(found) + 0.5))
            for number, times in found:
                scores[number] = scores.get(number, 0.0) + idf * times / (times + self._norms[number])
        return heapq.nsmallest(k, scores, key=lambda number: (-scores[number], number))


def words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    flat = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(mark for mark in flat if not unicodedata.combining(mark)))


def passages(source: Path) -> list[Passage]:
    """What a file, or every .txt, .md and .rst file below a directory, says, in pieces. DataError where there is nothing to read."""
    files = sorted(path for path in source.rglob("*") if path.suffix in SUFFIXES and path.is_file()) if source.is_dir() else [source]
    found: list[Passage] = []
    total = 0
    for path in files:
        try:
            total += path.stat().st_size
            if total > _MOST_BYTES:
                raise DataError(f"{source} holds more than {_MOST_BYTES // 2**20} MiB of text: name a smaller part of it")
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 (byte {error.start + 1}): save it as UTF-8") from error
        name = str(path.relative_to(source)) if source.is_dir() else path.name
        found += [Passage(piece, name) for piece in pieces(text)]
    if not found:
        raise DataError(f"{source} holds no text to look anything up in: put .txt, .md or .rst files there")
    return found


def pieces(text: str, size: int = PASSAGE_CHARS) -> Iterator[str]:
    """Paragraphs put together up to `size` characters; a longer one is cut between words. A heading stays with what follows it."""
    held = ""
    for paragraph in (part.strip() for part in re.split(r"\n\s*\n", text)):
        if held and len(held) + len(paragraph) + 2 > size:
            body, _, last = held.rpartition("\n\n")
            body, held = (body, last) if last.startswith("#") else (held, "")
            if body:
                yield body
        held = f"{held}\n\n{paragraph}" if held and paragraph else held or paragraph
        while len(held) > size:
            cut = held.rfind(" ", size // 2, size)
            cut = size if cut < 0 else cut
            yield held[:cut].strip()
            held = held[cut:].strip()
    if held:
        yield held
