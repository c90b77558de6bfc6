"""training/sampling.py: which examples are kept."""

from __future__ import annotations

import json
import random
from pathlib import Path

from training import chat, commands
from training.chat import Example
from training.sampling import pick


def examples(common: int, rare: int) -> list[Example]:
    """Many questions of one kind, a few of another."""
    rng = random.Random(3)
    asked = [f"my parcel {rng.randrange(10**6)} has not arrived although the page says it was sent" for _ in range(common)]
    asked += [f"bitte {i} rechnung über {rng.randrange(10**6)} euro an meine neue adresse senden danke" for i in range(rare)]
    made = [chat.from_messages([{"role": "user", "content": text}, {"role": "assistant", "content": "ok"}], [], i + 1) for i, text in enumerate(asked)]
    return [each for each in made if isinstance(each, Example)]


def test_what_is_rare_is_there_and_what_is_frequent_stays_frequent() -> None:
    """Three of 400 are hardly met by chance; with fifty chosen all of them are."""
    found = pick(examples(400, 3), 50)
    assert len(found) == 50
    assert sum("rechnung" in each.question for each in found) == 3
    assert [each.line for each in found] == sorted(each.line for each in found)


def test_the_order_does_not_matter() -> None:
    """The same examples in another order are the same choice; few enough are all kept."""
    some = examples(60, 2)
    backwards = {each.digest for each in pick(some[::-1], 20)}
    assert {each.digest for each in pick(some, 20)} == backwards
    assert pick(some, 62) == some


def test_a_dataset_of_at_most_so_many(tmp_path: Path) -> None:
    """`--limit` says in the manifest from how many it chose; repeated lines count once."""
    rows = [json.loads(each.as_line()) for each in examples(30, 2)]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *rows]))
    made = commands.build_dataset(None, None, tmp_path / "f.jsonl", tmp_path / "d", commands.Wanted(limit=12))
    assert sum(part["examples"] for part in made["files"].values()) == 12
    assert made["source"]["chosen_from"] == 32
