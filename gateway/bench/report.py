"""How a benchmark looks to people: in a terminal, and as a section of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import terminal

_COLUMNS = ("what", "measured", "beside", "ratio", "target", "met")
_WORDS = {True: "met", False: "NOT met", None: "–"}


def show(document: Mapping[str, Any]) -> None:
    """A table on stdout."""
    terminal.line(machine(document))
    terminal.rows([{**row, "met": _WORDS[row["met"]]} for row in document["targets"]], _COLUMNS, "nothing was measured")
    for sentence in notes(document):
        terminal.note(sentence)


def markdown(document: Mapping[str, Any], command: str) -> str:
    """A section, dated."""
    head = [f"\n## {document['time'][:16].replace('T', ' ')} UTC · `{command}`", "", machine(document), ""]
    table = ["| what | measured | beside, in the same run | ratio | target | met |", "| --- | --- | --- | --- | --- | --- |"]
    lines = [f"| {' | '.join([*(row[column] for column in _COLUMNS[:-1]), _WORDS[row['met']]])} |" for row in document["targets"]]
    return "\n".join([*head, *table, *lines, *(f"\n{sentence}" for sentence in notes(document))]) + "\n"


def machine(document: Mapping[str, Any]) -> str:
    """One line on where and how it was measured."""
    on, asked = document["machine"], document["options"]
    peers = [f"{name} {version}" for name, version in document["peers"].items()]
    beside = f", beside {' and '.join(peers)}" if peers else ""
    load = f"load {on['load_before']:.1f} before and {on['load_after']:.1f} after"
    return f"{on['cores']} cores, {on['machine']}, Python {on['python']}, {load}; {asked['seconds']:g} s a measurement{beside}"


def notes(document: Mapping[str, Any]) -> list[str]:
    """What a reader must know to judge the figures."""
    said = []
    if document["machine"]["cores"] == 1:
        said.append("One core: what is measured shares it with upstream and load. Only CPU time per request says something.")
    if document["failed"]:
        said.append(f"Requests failed ({', '.join(f'{how}: {count}' for how, count in document['failed'].items())}): the figures are not what they say.")
    if document["machine"]["load_before"] > document["machine"]["cores"] / 2:
        said.append("The machine was busy with other things when this began: ratios hold better than absolute figures, and neither well.")
    return said
