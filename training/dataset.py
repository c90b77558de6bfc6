"""A dataset: JSONL read with every problem at once, examined, split and written with a manifest.

Public:
    examine(path) -> Examination               all problems and warnings, nothing raised
    check(path) -> Examination                 the same; raises DataError with every problem
    build(out, examples, source, shares, held_out) -> Built    train/validation/test.jsonl, manifest.json last
    load(directory) -> Dataset                 a built directory, its digests verified
    open_any(path) -> Dataset                  a built directory, or a JSONL file split in memory
Not here: one line's format (chat.py), captured traffic (traffic.py), tokens and length (tokens.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import DataError, Problem
from training import chat, manifest, split
from training.advice import advice
from training.chat import Example
from training.duplicates import clusters

FORMAT = 1
MIN_EXAMPLES = 10  # OpenAI's minimum (`invalid_n_examples`)
NAMED_LINES = 8  # line numbers spelled out in a warning; the rest are counted
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Examination:
    """What reading a file found. `examples` are the good lines in file order; it may be trained on when `problems` is empty."""

    file: str
    lines: int
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    def as_dict(self) -> dict[str, object]:
        """JSON-ready summary: counts, problems, warnings."""
        return {
            "file": self.file,
            "lines": self.lines,
            "examples": len(self.examples),
            "problems": [p.as_dict() for p in self.problems],
            "warnings": [w.as_dict() for w in self.warnings],
        }


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples by part, and `digest`: the sha256 that names exactly this data in every later manifest."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Built:
    """Where a dataset was written and what its manifest says."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The dataset's name in later manifests."""
        return str(self.manifest["digest"])


def examine(path: Path) -> Examination:
    """Read a JSONL file to its end whatever is wrong with it. Raises DataError only where the file itself cannot be read."""
    examples: list[Example] = []
    problems: list[Problem] = []
    blank: list[int] = []
    number = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                _line(raw.removeprefix(_BOM) if number == 1 else raw, number, str(path), (examples, problems, blank))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not problems and len(examples) < MIN_EXAMPLES:
        problems.append(Problem(f"has {len(examples)} example(s), but training needs at least {MIN_EXAMPLES}", str(path)))
    warnings = [Problem(f"blank lines are skipped: {_some(blank)}", str(path), blank[0])] if blank else []
    return Examination(str(path), number, tuple(examples), tuple(problems), (*warnings, *warnings_of(examples, str(path))))


def check(path: Path) -> Examination:
    """`examine`, raising DataError with every problem where there is one."""
    found = examine(path)
    if found.problems:
        raise DataError(f"{path}: {len(found.problems)} problem(s) in {found.lines} lines; nothing was trained", found.problems)
    return found


def warnings_of(examples: Sequence[Example], file: str | None) -> list[Problem]:
    """What does not stop training but should be known: repeated lines, one prompt with different answers, near-duplicates, and `advice`."""
    out: list[Problem] = []
    lines_of: dict[str, list[int]] = defaultdict(list)
    answers_of: dict[str, dict[str, int]] = defaultdict(dict)
    for example in examples:
        lines_of[example.digest].append(example.line)
        answers_of[chat.canonical([example.prompt, example.tools])].setdefault(example.answer, example.line)
    repeated = [lines for lines in lines_of.values() if len(lines) > 1]
    if repeated:
        extra = sum(len(lines) - 1 for lines in repeated)
        where = "; ".join(f"{_some(lines)} are equal" for lines in repeated[:NAMED_LINES])
        out.append(Problem(f"{extra} line(s) repeat an earlier one and count double: {where}", file, repeated[0][1]))
    torn = [sorted(lines.values()) for lines in answers_of.values() if len(lines) > 1]
    if torn:
        where = "; ".join(_some(lines) for lines in torn[:NAMED_LINES])
        out.append(Problem(f"{len(torn)} prompt(s) have different answers, the model cannot learn both: {where}", file, torn[0][0]))
    near = len(examples) - len(set(near_clusters(examples))) - sum(len(lines) - 1 for lines in repeated)
    if near > 0:
        out.append(
            Problem(f"{near} example(s) are near-duplicates of another; they stay in one part, so none leaks from training into validation or test", file)
        )
    return [*out, *advice(examples, file)]


def leaks(examples: Sequence[Example], other: Sequence[Example], file: str | None, other_file: str) -> list[Problem]:
    """Examples that ask the same or nearly the same as one of `other`, the file they are to be judged on: their scores there would measure memory."""
    cluster_of = clusters([example.question for example in (*other, *examples)])
    known: dict[int, int] = {}
    for cluster, example in zip(cluster_of, other, strict=False):
        known.setdefault(cluster, example.line)
    met = [(example.line, known[cluster]) for example, cluster in zip(examples, cluster_of[len(other) :], strict=True) if cluster in known]
    if not met:
        return []
    where = "; ".join(f"line {mine} is line {theirs} there" for mine, theirs in met[:NAMED_LINES])
    return [Problem(f"{len(met)} example(s) ask what {other_file} asks too, its scores would measure memory: {where}", file, met[0][0])]


def near_clusters(examples: Sequence[Example]) -> list[int]:
    """Clusters of near-duplicate prompts. System text is left out (all share it); answers are left out (a leak is a known question)."""
    return clusters([example.question for example in examples])


def _without(examples: Sequence[Example], held_out: Sequence[str]) -> list[Example]:
    """The examples that are in no cluster with a held-out question."""
    if not held_out:
        return list(examples)
    cluster_of = clusters([*held_out, *(example.question for example in examples)])
    taken = set(cluster_of[: len(held_out)])
    return [example for example, cluster in zip(examples, cluster_of[len(held_out) :], strict=True) if cluster not in taken]


def build(out: Path, examples: Sequence[Example], source: Mapping[str, Any], shares: Mapping[str, float] = split.SHARES, held_out: Sequence[str] = ()) -> Built:
    """Write the parts and, last, manifest.json into the new directory `out`. The bytes depend on nothing but the arguments.

    Equal lines are kept once. `held_out` are questions of a suite (`suite.questions`): examples that ask the same or nearly the same are left out.

    Raises StateError where `out` exists, DataError where fewer than ten examples are left.
    """
    different = list({example.digest: example for example in examples}.values())
    unique = _without(different, held_out)
    if len(unique) < MIN_EXAMPLES:
        raise DataError(f"{len(unique)} different example(s) are left of {len(examples)}, but training needs at least {MIN_EXAMPLES}; collect more")
    parts, moved = _parts(unique, shares)
    with manifest.writing(out) as directory:
        files = {}
        for part, members in parts.items():
            path = directory / f"{part}.jsonl"
            path.write_text("".join(example.as_line() + "\n" for example in members), encoding="utf-8")
            files[path.name] = {"sha256": manifest.sha256_file(path), "examples": len(members), "bytes": path.stat().st_size}
        body = {
            "format": FORMAT,
            "files": files,
            "shares": dict(shares),
            "source": dict(source),
            "repeated_lines_dropped": len(examples) - len(different),
            "held_out_dropped": len(different) - len(unique),
            "kept_together_against_leaks": moved,
        }
        # The digest names the data alone, so that a run from a file and a run from a directory with the same lines have the same name.
        body["digest"] = data_digest(parts)
        manifest.write_json(directory / "manifest.json", body)
    return Built(out, body)


def load(directory: Path) -> Dataset:
    """A built dataset. Raises DataError where it is incomplete or its files are not the ones the manifest describes."""
    body = manifest.read(directory)
    if body.get("format") != FORMAT or not isinstance(body.get("files"), dict):
        raise DataError(f"{directory}/manifest.json has format {body.get('format')!r}, this version reads {FORMAT}; build the dataset again")
    manifest.verify(directory, {name: str(entry["sha256"]) for name, entry in body["files"].items()})
    parts: dict[str, list[Example]] = {}
    for part in split.PARTS:
        parsed = [chat.parse(line, i, f"{part}.jsonl") for i, line in enumerate(_lines(directory / f"{part}.jsonl"), 1)]
        parts[part] = [example for example in parsed if isinstance(example, Example)]
    return _dataset(parts)


def open_any(path: Path) -> Dataset:
    """A built directory, or a JSONL file checked and split in memory in the same way. Raises DataError with every problem."""
    if path.is_dir():
        return load(path)
    unique = {example.digest: example for example in check(path).examples}
    if len(unique) < MIN_EXAMPLES:
        raise DataError(f"{path} has {len(unique)} different example(s), but training needs at least {MIN_EXAMPLES}; collect more")
    return _dataset(_parts(list(unique.values()), split.SHARES)[0])


def data_digest(parts: Mapping[str, Sequence[Example]]) -> str:
    """The sha256 of which examples stand in which part, in which order."""
    return manifest.sha256_json({part: [example.digest for example in parts[part]] for part in split.PARTS})


def _dataset(parts: Mapping[str, Sequence[Example]]) -> Dataset:
    return Dataset(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]), data_digest(parts))


def _parts(examples: Sequence[Example], shares: Mapping[str, float]) -> tuple[dict[str, list[Example]], int]:
    digests = [example.digest for example in examples]
    assigned = split.assign(digests, near_clusters(examples), shares)
    parts: dict[str, list[Example]] = {part: [] for part in split.PARTS}
    for example, part in zip(examples, assigned, strict=True):
        parts[part].append(example)
    own = Counter(split.part_of(digest, shares) == part for digest, part in zip(digests, assigned, strict=True))
    return parts, own[False]


def _line(raw: bytes, number: int, file: str, into: tuple[list[Example], list[Problem], list[int]]) -> None:
    examples, problems, blank = into
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        problems.append(Problem(f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8", file, number))
        return
    if not text:
        blank.append(number)
        return
    parsed = chat.parse(text, number, file)
    if isinstance(parsed, Example):
        examples.append(parsed)
    else:
        problems.extend(parsed)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def _some(lines: Sequence[int]) -> str:
    named = ", ".join(str(line) for line in lines[:NAMED_LINES])
    rest = f" and {len(lines) - NAMED_LINES} more" if len(lines) > NAMED_LINES else ""
    return f"line{'s' if len(lines) > 1 else ''} {named}{rest}"
