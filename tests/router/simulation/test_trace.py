"""Traces: what is read, what is told, what is made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.simulation.trace import Shape, azure, from_rows, synthetic

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"


def test_azure() -> None:
    """Seven decimals, any order of columns, a byte-order mark; times count from the first request."""
    found = azure(
        "t", ["\ufeffGeneratedTokens,TIMESTAMP,ContextTokens\n", "44,2023-11-16 18:15:46.6805900,374\n", "109,2023-11-16 18:15:50.9951690,396\r\n", "\n"]
    )
    assert [(round(ask.at, 4), ask.input, ask.output) for ask in found.asks] == [(0.0, 374, 44), (4.3146, 396, 109)]
    assert found.problems == ()
    assert found.scaled(2.0).asks[1].at == found.asks[1].at / 2
    assert len(found.first(1).asks) == 1


def test_every_bad_line_is_named() -> None:
    """Left out and told with its line; the good ones stay."""
    lines = [
        HEAD,
        "yesterday,1,1",
        "2023-11-16 18:00:00,-1,5",
        "2023-11-16 18:00:00,5,99999999999",
        "2023-11-16 18:00:00,five,5",
        "2023-11-16 18:00:00,5",
        "2023-11-16 18:00:01,5,6",
    ]
    found = azure("t.csv", lines)
    assert [(problem.line, problem.file) for problem in found.problems] == [(number, "t.csv") for number in range(2, 7)]
    assert "not a time" in found.problems[0].message
    assert "ContextTokens is -1" in found.problems[1].message
    assert found.left_out == 5
    assert len(found.asks) == 1


def test_a_file_of_something_else() -> None:
    """The first line says what is missing; an empty file has nothing in it; many bad lines are not all shown."""
    assert "missing: ContextTokens, GeneratedTokens" in azure("t", ["TIMESTAMP,tokens", "x,1"]).problems[0].message
    assert azure("t", []).problems[0].message == "no request in it"
    many = azure("t", [HEAD, *["x,1,1"] * 50])
    assert (many.left_out, len(many.problems), many.problems[20].message) == (50, 22, "30 more lines like these")


def test_order_and_holes() -> None:
    """Times out of order are sorted and told; so is a time in which nothing came."""
    rows = [(float(second), 1, 1) for second in range(50)]
    assert from_rows("t", rows).problems == ()
    mixed = from_rows("t", rows[::-1])
    assert [ask.at for ask in mixed.asks] == [float(second) for second in range(50)]
    assert "not in order" in mixed.problems[0].message
    holed = from_rows("t", [*rows, *[(100_000.0 + second, 1, 1) for second in range(2000)]])
    assert "nothing arrives for 99951 s from second 49 on" in holed.problems[0].message


@given(st.lists(st.text(max_size=40), max_size=20))
def test_no_text_breaks_it(lines: list[str]) -> None:
    """Whatever the file, a trace and its problems."""
    found = azure("t", [HEAD, *lines])
    empty = sum(not line.lstrip("\ufeff").rstrip("\r\n").strip() for line in lines)
    assert len(found.asks) + found.left_out + empty == len(lines)
    assert [ask.at for ask in found.asks] == sorted(ask.at for ask in found.asks)


def test_synthetic() -> None:
    """The same seed, the same trace; the rate is what was asked for; bursts come together; answers grow; turns share their prompts."""
    calm = Shape(rate=20.0, seconds=500.0)
    made = synthetic("s", calm, 1)
    assert made == synthetic("s", calm, 1)
    assert made != synthetic("s", calm, 2)
    assert abs(len(made.asks) / 500.0 - 20.0) < 1.5
    bursts = synthetic("s", calm._replace(burst=20.0), 1)
    assert abs(len(bursts.asks) / 500.0 - 20.0) < 5.0
    together = sum(after.at - before.at < 0.006 for before, after in zip(bursts.asks, bursts.asks[1:], strict=False))
    assert together > 0.8 * len(bursts.asks)
    grown = synthetic("s", calm._replace(drift=3.0), 1).asks
    halves = [[ask.output for ask in grown if (ask.at > 250.0) is late] for late in (False, True)]
    assert 2.0 < (sum(halves[1]) / len(halves[1])) / (sum(halves[0]) / len(halves[0])) < 4.0
    assert not any(ask.shared for ask in made.asks)
    turned = synthetic("s", calm._replace(turns=5.0), 1).asks
    assert 0.7 < sum(ask.shared > 0 for ask in turned) / len(turned) < 0.9
    swung = [ask.at for ask in synthetic("s", calm._replace(swing=0.9), 1).asks]
    assert sum(200.0 < at < 300.0 for at in swung) > 3 * sum(at < 100.0 for at in swung)
