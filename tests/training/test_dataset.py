"""training/dataset.py, split.py, manifest.py, duplicates.py: files of examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.errors import DataError, StateError
from training import dataset, duplicates, manifest, split

WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "juniper", "kelp", "lotus")


def line(i: int, answer: str = "ok") -> str:
    """A distinct example: its question shares few runs of letters with any other."""
    text = " ".join(WORDS[(i * 7 + k * (i % 11 + 1)) % len(WORDS)] + str(i * 31 + k) for k in range(6))
    return json.dumps(
        {
            "messages": [
                {"role": "system", "content": "the same long system text for everyone " * 5},
                {"role": "user", "content": text},
                {"role": "assistant", "content": answer},
            ]
        }
    )


def write(path: Path, rows: list[str]) -> Path:
    """A JSONL file."""
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_ten_broken_lines_show_ten(tmp_path: Path) -> None:
    """Ten differently broken lines among good ones give ten problems with their line numbers, in one go."""
    broken = {
        2: b"{not json", 4: b"[]", 5: b"{}", 7: b'{"messages": []}', 9: b'{"messages": [{"role": "x", "content": "y"}]}',
        11: b'{"messages": [{"role": "user", "content": "y"}]}', 12: b'{"messages": [{"role": "user"}, {"role": "assistant", "content": "y"}]}',
        14: b"\xff\xfe", 15: b'{"messages": [{"role": "user", "content": "y"}, {"role": "assistant", "content": "y", "weight": 3}]}',
        17: b'{"prompt": "a", "messages": [{"role": "user", "content": "y"}, {"role": "assistant", "content": "z"}]}',
    }  # fmt: skip
    rows = [broken.get(i, line(i).encode()) for i in range(1, 19)]
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\n".join(rows))
    with pytest.raises(DataError, match="10 problem") as caught:
        dataset.check(path)
    assert [p.line for p in caught.value.problems] == sorted(broken)
    assert {p.file for p in caught.value.problems} == {str(path)}
    assert len(dataset.examine(path).examples) == 8


def test_bom_crlf_and_blank_lines_are_tolerated(tmp_path: Path) -> None:
    """Windows files read as themselves; blank lines are a warning with their numbers."""
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([line(i).encode() for i in range(10)] + [b"", b"  "]))
    found = dataset.check(path)
    assert len(found.examples) == 10
    assert found.warnings[0].line == 11
    assert "lines 11, 12" in found.warnings[0].message


def test_too_few_examples_and_unreadable_files(tmp_path: Path) -> None:
    """Nine examples, an empty file and a missing file are refused with what is wanted."""
    with pytest.raises(DataError, match="1 problem") as caught:
        dataset.check(write(tmp_path / "nine.jsonl", [line(i) for i in range(9)]))
    assert "has 9 example(s), but training needs at least 10" in caught.value.problems[0].message
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert len(dataset.examine(tmp_path / "empty.jsonl").problems) == 1
    with pytest.raises(DataError, match="cannot be read"):
        dataset.check(tmp_path / "absent.jsonl")


def test_repeats_conflicts_and_near_duplicates_are_warnings_with_counts(tmp_path: Path) -> None:
    """Equal lines, one question with two answers, and almost equal questions are each named."""
    near = line(3).replace('"}, {"role": "assistant"', ' !"}, {"role": "assistant"')
    assert near != line(3)
    rows = [*(line(i) for i in range(12)), line(1), line(1), line(2, "other"), near]
    found = dataset.check(write(tmp_path / "f.jsonl", rows))
    repeats, conflicts, close, *_ = found.warnings
    assert "2 line(s) repeat" in repeats.message
    assert "lines 2, 13, 14" in repeats.message
    assert "1 prompt(s) have different answers" in conflicts.message
    assert "lines 3, 15" in conflicts.message
    assert close.message.startswith("2 example(s) are near-duplicates")
    body = found.as_dict()
    assert (body["lines"], body["examples"], body["problems"]) == (16, 16, [])


def test_many_repeats_are_counted_not_listed(tmp_path: Path) -> None:
    """A warning names a few lines and counts the rest."""
    found = dataset.check(write(tmp_path / "f.jsonl", [line(0)] * 30))
    assert "29 line(s) repeat" in found.warnings[0].message
    assert "and 22 more" in found.warnings[0].message


def test_build_is_reproducible_complete_and_loads(tmp_path: Path) -> None:
    """The same examples give the same bytes; the manifest has every digest; loading gives back all examples; equal lines are kept once."""
    examples = dataset.check(write(tmp_path / "f.jsonl", [*(line(i) for i in range(200)), line(5)])).examples
    first = dataset.build(tmp_path / "a", examples, {"file": "f.jsonl"})
    second = dataset.build(tmp_path / "b", examples, {"file": "f.jsonl"})
    assert {p.name: p.read_bytes() for p in first.path.iterdir()} == {p.name: p.read_bytes() for p in second.path.iterdir()}
    loaded = dataset.load(first.path)
    assert len(loaded.train) + len(loaded.validation) + len(loaded.test) == 200
    assert {e.digest for e in (*loaded.train, *loaded.validation, *loaded.test)} == {e.digest for e in examples}
    assert first.manifest["repeated_lines_dropped"] == 1
    assert loaded.digest == first.digest == dataset.open_any(tmp_path / "f.jsonl").digest == dataset.open_any(first.path).digest
    assert 150 < len(loaded.train) < 200
    with pytest.raises(StateError, match="exists already"):
        dataset.build(first.path, examples, {})


def test_a_changed_or_unfinished_directory_is_refused(tmp_path: Path) -> None:
    """Another byte in a part, a missing manifest, a foreign format, damaged JSON: each is refused and says so."""
    examples = dataset.check(write(tmp_path / "f.jsonl", [line(i) for i in range(30)])).examples
    built = dataset.build(tmp_path / "d", examples, {})
    part = built.path / "train.jsonl"
    good = part.read_text()
    part.write_text(good + "\n")
    with pytest.raises(DataError, match=r"train\.jsonl changed"):
        dataset.load(built.path)
    part.write_text(good)
    body = json.loads((built.path / "manifest.json").read_text())
    manifest.write_json(built.path / "manifest.json", {**body, "format": 99})
    with pytest.raises(DataError, match="format 99"):
        dataset.load(built.path)
    for text, said in (("{", "cannot be read"), ("[]", "not a JSON object")):
        (built.path / "manifest.json").write_text(text)
        with pytest.raises(DataError, match=said):
            dataset.load(built.path)
    (built.path / "manifest.json").unlink()
    with pytest.raises(DataError, match="was not finished"):
        dataset.load(built.path)


def test_all_duplicates_are_too_few(tmp_path: Path) -> None:
    """Thirty equal lines are one example: both ways to a dataset refuse."""
    path = write(tmp_path / "f.jsonl", [line(0)] * 30)
    with pytest.raises(DataError, match="1 different example"):
        dataset.open_any(path)
    with pytest.raises(DataError, match="1 different example"):
        dataset.build(tmp_path / "d", dataset.check(path).examples, {})
    assert not (tmp_path / "d").exists()


def test_held_out_questions_are_left_out(tmp_path: Path) -> None:
    """Examples whose question is, or nearly is, one of the suite's are dropped and counted."""
    examples = dataset.check(write(tmp_path / "f.jsonl", [line(i) for i in range(40)])).examples
    question = str(examples[7].messages[1]["content"])
    built = dataset.build(tmp_path / "d", examples, {}, held_out=[question.upper() + " !"])
    assert built.manifest["held_out_dropped"] == 1
    left = dataset.load(built.path)
    assert examples[7].digest not in {e.digest for e in (*left.train, *left.validation, *left.test)}


def test_the_split_is_stable_and_near_duplicates_stay_together() -> None:
    """An example's part depends on its content alone; a cluster goes whole to its earliest part."""
    digests = [f"{i:064x}"[::-1] for i in range(2000)]
    alone = split.assign(digests, list(range(2000)))
    assert alone[:500] == split.assign(digests[:500], list(range(500)))
    assert {part: round(alone.count(part) / 2000, 1) for part in split.PARTS}["train"] == 0.9
    test = next(i for i, part in enumerate(alone) if part == "test")
    train = next(i for i, part in enumerate(alone) if part == "train")
    assert split.assign([digests[test], digests[train]], [0, 0]) == ["train", "train"]
    assert split.part_of("f" * 64, {"train": 0.5}) == "train"


def test_clusters_find_what_is_almost_equal() -> None:
    """Texts that differ in a typo, case or spacing cluster; different texts do not, whatever their number."""
    long = "my order 123456 has not arrived yet and I would like to know where it is, please answer soon"
    texts = [long, long.upper() + "  ", long.replace("arrived", "arived"), "where can I download the invoice of last month?", "x", "x", "y", ""]
    assert duplicates.clusters(texts) == [0, 0, 0, 3, 4, 4, 6, 7]
    assert duplicates.jaccard(frozenset(), frozenset()) == 1.0
    distinct = [" ".join(WORDS[(i * 5 + k * k + i // 12) % 12] + str((i + 1) * (k + 3)) for k in range(9)) for i in range(300)]
    parts = [duplicates.shingles(text) for text in distinct]
    pairs = sum(duplicates.jaccard(a, b) >= 0.8 for i, a in enumerate(parts) for b in parts[:i])
    assert 300 - len(set(duplicates.clusters(distinct))) <= pairs


def test_a_crowd_of_equals_is_one_cluster_quickly() -> None:
    """A thousand near-equal texts are one cluster: crowded buckets do not miss and do not explode."""
    texts = [f"please cancel my subscription and send the money back to my account as soon as possible, thank you {i % 10}" for i in range(1000)]
    assert set(duplicates.clusters(texts)) == {0}


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """A block that fails leaves nothing; what a killed run left is cleared; a finished one replaces an empty directory."""
    target = tmp_path / "deep" / "out"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".out.partial").mkdir()
    (tmp_path / "deep" / ".out.partial" / "rest").write_text("old")
    with pytest.raises(FileNotFoundError), manifest.writing(target) as directory:
        (directory / "file").write_text((directory / "absent").read_text())
    assert list((tmp_path / "deep").iterdir()) == []
    target.mkdir()
    with manifest.writing(target) as directory:
        (directory / "file").write_text("x")
    assert [p.name for p in target.iterdir()] == ["file"]
