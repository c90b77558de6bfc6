"""`breakeven prices`, `check` and `reprice`: what people and programs see of prices and their corrections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.commands import reprice as command
from gateway.repricing import Repricer
from gateway.store import exchanges
from router.types import Attempt, Exchange, Outcome, Usage
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway.commands.conftest import CONFIG, Run

NOON = 1_795_953_600.0  # 2026-11-29T12:00:00Z
PRICED = CONFIG.replace("prices: []", "prices: [{provider: mine, model: m, input_usd_per_m: 1, output_usd_per_m: 2, audio_input_usd_per_m: 5}]")


@pytest.fixture
def ledger(run: Run, tmp_path: Path) -> Iterator[Engine]:
    """Three rows of a model whose price was unknown."""
    engine = connect("sqlite:///breakeven.db", tmp_path)
    prepare(engine)
    call = Attempt("mine/m", 200, None, NOON, 1.0, 2.0, Usage(10, 0, 1), "provider", None, "unknown")
    rows = [
        Exchange(
            *(f"req_{n}", NOON + n, "r", "chat", "mine/m", None, None, {}, False, 200, Outcome.OK, call.usage, "provider", None, "unknown"),
            *(None, None, 1.0, 2.0, None, "cost", None),
            attempts=(call,),
        )
        for n in range(3)
    ]
    with writing(engine) as conn:
        exchanges.insert(conn, rows)
    yield engine
    engine.dispose()


def costs(engine: Engine) -> list[int | None]:
    with reading(engine) as conn:
        return [entry.exchange.cost_nanousd for entry in exchanges.page(conn, exchanges.Filter()).entries]


def test_a_correction_from_the_command_line(run: Run, ledger: Engine, tmp_path: Path) -> None:
    """A dry run, the real one, and the trail it leaves, for programs and for people: 3 x (10 x 1,000 + 1 x 2,000) = 36,000."""
    (tmp_path / "breakeven.yaml").write_text(PRICED)
    period = ("reprice", "--since", "2026-11-29", "--until", "2026-11-29", "--model", "m", "--provider", "mine")
    code, dry, err = run(*period, "--dry-run", "--json")
    assert (code, dry["dry_run"], dry["id"], dry["changed"], dry["after_nanousd"], dry["unknown_before"]) == (0, True, None, 3, 36_000, 3)
    assert "3 of 3 rows" in err
    assert costs(ledger) == [None, None, None]
    assert "would change 3 of 3 rows" in run(*period, "--dry-run")[1]
    code, said, _ = run(*period, "--reason", "the price list came late")
    assert code == 0
    assert "$0 -> $0.000036  (+$0.000036)" in said
    assert "cost unknown 3 -> 0" in said
    assert costs(ledger) == [12_000, 12_000, 12_000]
    _, trail, _ = run("reprice", "--list", "--json")
    assert [(one["reason"], one["rows"], one["provider"], one["after_usd"]) for one in trail["data"]] == [("the price list came late", 3, "mine", "0.000036")]
    assert "the price list came late" in run("reprice", "--list")[1]


def test_an_interrupted_one_says_how_to_go_on(run: Run, ledger: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between two chunks: exit code 1, the id to resume, and resuming ends it. A dry run has nothing to resume."""
    (tmp_path / "breakeven.yaml").write_text(PRICED)

    def interrupted(self: Repricer, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    period = ("reprice", "--since", "2026-11-29T00:00:00Z", "--until", "2026-11-30T00:00:00Z")
    with monkeypatch.context() as patched:
        patched.setattr(Repricer, "_chunk", interrupted)
        code, _, err = run(*period)
        assert code == 1
        assert "nothing was changed" in run(*period, "--dry-run")[2]
    identity = err.strip().rpartition(" ")[2]
    assert "interrupted" in run("reprice", "--list")[1]
    code, done, _ = run("reprice", "--resume", identity, "--json")
    assert (code, done["id"], done["changed"], done["finished"] is not None) == (0, identity, 3, True)
    code, refused, _ = run("reprice", "--resume", identity, "--json")
    assert (code, "has ended" in refused["error"]["message"]) == (1, True)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "--since 2027-01-01"),
        (("--since", "2026-11-01"), "which period?"),
        (("--since", "soon", "--until", "2026-11-02"), "`since` is not a time"),
        (("--since", "2026-11-03", "--until", "2026-11-01"), "`since` must be before `until`"),
        (("--since", "2026-11-01", "--until", "2026-11-02", "--provider", "opnai"), "'opnai' is not configured"),
        (("--resume", "rpr_x"), "there is no re-pricing"),
    ],
)
def test_what_is_wrong_is_said(run: Run, words: tuple[str, ...], part: str) -> None:
    """Each with what to change."""
    code, document, _ = run("reprice", *words, "--json")
    assert code in {1, 2}
    assert part in document["error"]["message"]


def test_who_corrects_is_written_down_even_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user has none."""
    assert command._who()
    monkeypatch.setattr(command.getpass, "getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    assert command._who() == "unknown"


def test_check_doubts_models_of_unknown_price(run: Run, tmp_path: Path) -> None:
    """A valid file whose costs would be unknown: said with the place, and gone with the price."""
    code, document, _ = run("check", "--json")
    assert (code, [warning["key"] for warning in document["warnings"] if "price is unknown" in warning["message"]]) == (0, ["routes.r.candidates[0]"])
    assert "mine/m: its price is unknown" in run("check")[1]
    (tmp_path / "breakeven.yaml").write_text(PRICED)
    assert "price is unknown" not in run("check")[1]


def test_prices_show_the_kinds_that_are_charged(run: Run, tmp_path: Path) -> None:
    """A column for audio where some model has one; the age of the data; unknown as a dash."""
    (tmp_path / "breakeven.yaml").write_text(PRICED)
    said = run("prices")[1]
    assert "audio input" in said.replace("\n", " ")
    assert "newest change of" in said
    assert "--json shows them" in said
    said = run("prices", "--model", "gpt-99")[1]
    assert "audio" not in said
    assert "unknown" in said
