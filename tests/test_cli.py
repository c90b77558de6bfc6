"""The command line: documents, exit codes and errors as the contract has them. Commands run in this process; rooms are tested in their own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import Run, runner

GOOD = """\
providers:
  openai: {base_url: http://127.0.0.1:9/v1, api_key: k, sandbox: true}
engines:
  local: {urls: ["http://127.0.0.1:9"], gpu_hour_usd: 1.0}
routes:
  triage:
    candidates:
      - {provider: openai, model: gpt-4o-mini}
      - {engine: local, adapter: triage}
"""
FIVE_MISTAKES = """\
server: {port: 99999}
providers:
  openai: {base_url: ftp://x/v1, api_key: k}
routes:
  triage:
    candidates:
      - {provider: opnai, model: gpt-4o-mini}
    slo: {total_ms: -5}
    budgets: {usd_per_day: 3}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `breakeven WORDS` in a directory with a good configuration."""
    (tmp_path / "breakeven.yaml").write_text(GOOD)
    return runner(tmp_path, monkeypatch, capsys)


def test_check_says_a_good_file_is_good(run: Run) -> None:
    """`check` of a valid file ends with 0 and names its routes."""
    code, document, _ = run("check", "--json")
    assert (code, document["ok"], document["routes"], document["problems"]) == (0, True, ["triage"], [])


def test_check_shows_all_five_mistakes_with_file_and_line(run: Run, tmp_path: Path) -> None:
    """Five mistakes are five problems, each with the file and its line, and exit code 2."""
    (tmp_path / "bad.yaml").write_text(FIVE_MISTAKES)
    code, document, _ = run("check", "-c", "bad.yaml", "--json")
    problems = document["error"]["problems"]
    assert code == 2
    assert [p["line"] for p in problems] == [1, 3, 7, 8, 9]
    assert all(p["file"].endswith("bad.yaml") and p["message"] for p in problems)
    code, out, err = run("check", "-c", "bad.yaml")
    assert (code, out) == (2, "")
    assert "bad.yaml:7" in err


@pytest.mark.parametrize("words", [("keys", "create"), ("check", "--nope"), ("nope",), ("dataset", "build", "--out", "x")])
def test_wrong_flags_end_with_2_and_say_so_in_json(run: Run, words: tuple[str, ...]) -> None:
    """A missing argument, an unknown option, an unknown command and missing choices: exit code 2, an error document."""
    code, document, _ = run(*words, "--json")
    assert code == 2
    assert document["error"]["message"]


def test_keys_are_shown_once_listed_without_secret_and_revoked(run: Run) -> None:
    """The secret appears in `create` alone; a revoked key says since when."""
    code, made, _ = run(
        "keys", "create", "checkout", "--route", "triage", "--rpm", "60", "--usd-per-day", "2.50", "--expires-at", "2099-01-31T00:00:00Z", "--json"
    )
    assert code == 0
    assert made["key"].startswith("bk-")
    assert (made["per_day_nanousd"], made["expires_at"]) == (2_500_000_000, "2099-01-31T00:00:00.000Z")
    _, listed, _ = run("keys", "list", "--json")
    assert [k["name"] for k in listed["data"]] == ["checkout"]
    assert made["key"] not in json.dumps(listed)
    code, revoked, _ = run("keys", "revoke", made["id"], "--json")
    assert (code, revoked["usable"]) == (0, False)
    assert "checkout" in run("keys", "list")[1]
    assert "only time" in run("keys", "create", "second")[1]


def test_keys_change_and_rotate(run: Run) -> None:
    """`none` takes a limit away, what is not named stays; a new secret comes with the end of the old one; what cannot be read is a flag error."""
    made = run("keys", "create", "x", "--rpm", "5", "--endpoint", "chat", "--tag", "team=search", "--usd-per-month", "7", "--json")[1]
    assert (made["endpoints"], made["tags"], made["per_month_usd"]) == (["chat"], {"team": "search"}, "7")
    code, changed, _ = run("keys", "update", made["id"], "--rpm", "none", "--tpm", "9", "--endpoint", "none", "--json")
    assert (code, changed["rpm"], changed["tpm"], changed["endpoints"], changed["per_month_usd"]) == (0, None, 9, None, "7")
    code, turned, _ = run("keys", "rotate", made["id"], "--grace-s", "60", "--json")
    assert (code, turned["id"]) == (0, made["id"])
    assert turned["key"] != made["key"]
    assert "works until" in run("keys", "rotate", made["id"])[1]
    for words in (("--rpm", "many"), ("--tag", "team"), ("--usd-per-day", "lots")):
        code, refused, _ = run("keys", "update", made["id"], *words, "--json")
        assert (code, words[0] in refused["error"]["message"]) == (2, True)


def test_a_date_that_is_none_is_a_flag_error(run: Run) -> None:
    """--expires-at takes RFC 3339 and says so."""
    code, document, _ = run("keys", "create", "x", "--expires-at", "tomorrow", "--json")
    assert code == 2
    assert "RFC 3339" in document["error"]["message"]


def test_prices_say_where_they_come_from(run: Run) -> None:
    """The price of a configured model and its source; an unknown model is shown as unknown, not as zero."""
    _, document, _ = run("prices", "--json")
    assert document["data"][0]["model"] == "gpt-4o-mini"
    assert document["data"][0]["cost_state"] == "known"
    _, unknown, _ = run("prices", "--model", "no-such-model", "--json")
    assert unknown["data"][0]["cost_state"] == "unknown"
    assert unknown["data"][0]["input_usd_per_m"] is None
    assert "gpt-4o-mini" in run("prices")[1]


def test_explain_works_before_serve_is_up(run: Run, tmp_path: Path) -> None:
    """Without a running gateway the decision is computed from the database: hosted, because the adapter has no live version."""
    (tmp_path / "request.json").write_text(json.dumps({"messages": [{"role": "user", "content": "hi"}]}))
    code, document, _ = run("explain", "triage", "--file", "request.json", "--json")
    assert (code, document["chosen"], document["live"]) == (0, "openai/gpt-4o-mini", False)
    dropped = next(c for c in document["candidates"] if not c["feasible"])
    assert dropped["dropped_because"]
    assert "openai/gpt-4o-mini" in run("explain", "triage")[1]


def test_explain_of_bad_input_says_what_is_wrong(run: Run, tmp_path: Path) -> None:
    """An unknown route, a file that is not JSON and one that is no object."""
    assert run("explain", "nope", "--json")[0] == 1
    (tmp_path / "broken.json").write_text("{")
    assert run("explain", "triage", "--file", "broken.json", "--json")[0] == 2
    (tmp_path / "list.json").write_text("[]")
    assert run("explain", "triage", "--file", "list.json", "--json")[0] == 2


def test_replay_of_an_unknown_decision_fails(run: Run) -> None:
    """Exit code 1 and the id in the message."""
    code, document, _ = run("replay", "dec_missing", "--json")
    assert code == 1
    assert "dec_missing" in document["error"]["message"]


def test_ten_broken_lines_are_ten_problems(run: Run, tmp_path: Path) -> None:
    """`dataset check` shows every broken line at once and ends with 1; `build` writes nothing."""
    good = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})
    (tmp_path / "train.jsonl").write_text("\n".join([good, *["{broken"] * 10, good]) + "\n")
    code, document, _ = run("dataset", "check", "train.jsonl", "--json")
    assert code == 1
    assert sorted({p["line"] for p in document["error"]["problems"]}) == list(range(2, 12))
    assert run("dataset", "build", "--file", "train.jsonl", "--out", "built", "--json")[0] == 1
    assert not (tmp_path / "built").exists()


def test_a_dataset_is_built_once(run: Run, tmp_path: Path) -> None:
    """`dataset build` writes three parts and a manifest; a second time it refuses to overwrite."""
    lines = [
        json.dumps({"messages": [{"role": "user", "content": f"question {i} about {i * 7919}"}, {"role": "assistant", "content": str(i)}]}) for i in range(40)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n")
    assert run("dataset", "check", "train.jsonl")[0] == 0
    code, document, _ = run("dataset", "build", "--file", "train.jsonl", "--out", "built", "--json")
    assert code == 0
    assert sum(part["examples"] for part in document["files"].values()) == 40
    assert (tmp_path / "built" / "manifest.json").exists()
    assert run("dataset", "build", "--file", "train.jsonl", "--out", "built")[0] == 1
    assert run("dataset", "build", "--route", "triage", "--out", "other", "--json")[0] == 1
    assert run("dataset", "build", "--route", "nope", "--out", "other", "--json")[0] == 2


def test_adapters_before_there_are_any(run: Run) -> None:
    """`list` says there are none; a verb on an unknown adapter fails without writing anything."""
    assert run("adapters", "list", "--json")[1]["data"] == []
    assert "no adapters yet" in run("adapters", "list")[1]
    code, document, _ = run("adapters", "promote", "triage", "--version", "1", "--json")
    assert code == 1
    assert document["error"]["message"]


def test_an_adapter_that_is_none_is_refused_with_reasons(run: Run, tmp_path: Path) -> None:
    """`adapters add` of an empty directory lists why and what to do."""
    (tmp_path / "empty").mkdir()
    code, document, _ = run("adapters", "add", "empty", "--name", "triage", "--json")
    assert code == 1
    assert document["error"]["reasons"]
    assert all(reason["remedy"] for reason in document["error"]["reasons"])


def test_eval_needs_a_suite(run: Run) -> None:
    """A route without a suite cannot be evaluated, and the message names the key to set."""
    code, document, _ = run("eval", "triage", "--json")
    assert code == 2
    assert "quality.suite" in document["error"]["message"]


def test_help_has_an_example_for_every_command(run: Run) -> None:
    """Each command's help ends with an example."""
    for words in ("serve", "check", "explain", "replay", "sandbox", "prices", "train", "eval"):
        assert "Example: breakeven" in run(words, "--help")[1]
    for words in ("list", "add", "load", "canary", "promote", "rollback", "retire"):
        assert "Example: breakeven" in run("adapters", words, "--help")[1]
