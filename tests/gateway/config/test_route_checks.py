"""What must hold of the routes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.models import Config
from router.errors import Problem

Load = Callable[..., Config]
Problems = Callable[..., tuple[Problem, ...]]
OWNERS = "providers: {openai: {api_key: k}}\nengines: {local: {model: a/b}}\n"
SOUND = "{provider: openai, model: m}"


def route(candidates: str, more: str = "", name: str = "r") -> str:
    """A file with one route on line 4."""
    return f"{OWNERS}routes:\n  {name}: {{candidates: [{candidates}]{', ' if more else ''}{more}}}\n"


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        (route("{}"), "routes.r.candidates[0]", "needs provider and model, or engine"),
        (route("{model: m}"), "routes.r.candidates[0]", "needs provider and model, or engine"),
        (route("{provider: openai, model: m, engine: local}"), "routes.r.candidates[0]", "make two candidates"),
        (route("{provider: openai}"), "routes.r.candidates[0]", "needs model"),
        (route("{provider: opnai, model: m}"), "routes.r.candidates[0].provider", "did you mean 'openai'?"),
        (route("{provider: local, model: m}"), "routes.r.candidates[0].provider", "providers here: openai"),
        (route("{provider: openai, model: m, adapter: a}"), "routes.r.candidates[0].adapter", "only an engine has adapters"),
        (route("{engine: locl}"), "routes.r.candidates[0].engine", "did you mean 'local'?"),
        (route("{engine: local, model: m}"), "routes.r.candidates[0].model", "remove it here"),
        (route("{engine: local, adapter: a/b}"), "routes.r.candidates[0].adapter", "cannot be the name of an adapter"),
        (route("{engine: local, adapter: a@3}"), "routes.r.candidates[0].adapter", "follows the live version"),
        (route(f"{SOUND}, {{engine: local}}, {SOUND}"), "routes.r.candidates[2]", "is the same as candidates[0]"),
        (route(f"{SOUND}, {{engine: local}}", "hedge: {spend: 0.1}"), "routes.r.hedge.after_ms", "is required"),
        (route(f"{SOUND}, {{engine: local}}", "hedge: {after_ms: p99}"), "routes.r.hedge.after_ms", 'or "p95"'),
        (route(f"{SOUND}, {{engine: local}}", "hedge: {after_ms: 0}"), "routes.r.hedge.after_ms", "greater than 0"),
        (route(f"{SOUND}, {{engine: local}}", "hedge: {after_ms: p95, spend: 2}"), "routes.r.hedge.spend", "1"),
        (route(SOUND, "timeouts: {min_tokens_per_s: 0}"), "routes.r.timeouts.min_tokens_per_s", "more than 0"),
        (route(SOUND, name="a/b"), "routes.a/b", "cannot be the name of a route"),
        (route(SOUND, name="'ft:x'"), "routes.ft:x", "cannot be the name of a route"),
        (route(SOUND, name="openai"), "routes.openai", "is in providers too"),
        (route(SOUND, name="local"), "routes.local", "is in engines too"),
        (route(SOUND, "quality: {suite: none.jsonl}"), "routes.r.quality.suite", "no file 'none.jsonl'"),
        (route(SOUND, "quality: {suite: .}"), "routes.r.quality.suite", "is a directory"),
        (route("{engine: local, program: {system: s.txt}}"), "routes.r.candidates[0].program.system", "no file 's.txt'"),
        (route("{engine: local, program: {examples: x.jsonl}}"), "routes.r.candidates[0].program.examples", "no file 'x.jsonl'"),
        (route("{engine: local, program: {retrieval: {source: d}}}"), "routes.r.candidates[0].program.retrieval.source", "no file 'd'"),
    ],
)
def test_what_is_refused(problems: Problems, text: str, key: str, part: str) -> None:
    """One problem each, at its key, with what to change."""
    found = problems(text)
    assert [(p.key, p.line) for p in found] == [(key, 4)]
    assert part in found[0].message


def test_hedges_that_never_happen(loaded: Load) -> None:
    """Allowed, and said."""
    both = f"{SOUND}, {{engine: local}}"
    assert loaded(route(both, "hedge: {after_ms: p95}")).warnings == ()
    assert loaded(route(both, "hedge: {after_ms: 400}, timeouts: {first_token_ms: 500}")).warnings == ()
    alone = loaded(route(SOUND, "hedge: {after_ms: p95}")).warnings
    assert [(p.key, "second candidate" in p.message) for p in alone] == [("routes.r.hedge", True)]
    late = loaded(route(both, "hedge: {after_ms: 500}, timeouts: {first_token_ms: 500}")).warnings
    assert [(p.key, "first_token_ms (500)" in p.message) for p in late] == [("routes.r.hedge.after_ms", True)]


def test_files_and_programs_that_exist(loaded: Load, tmp_path: Path) -> None:
    """Same model with another program is another candidate; retrieval takes a directory."""
    (tmp_path / "s.txt").write_text("One word.")
    (tmp_path / "x.jsonl").write_text('{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}')
    (tmp_path / "q.jsonl").touch()
    program = "program: {system: s.txt, examples: x.jsonl, retrieval: {source: .}}"
    config = loaded(route(f"{SOUND}, {{provider: openai, model: m, {program}}}, {{engine: local}}, {{engine: local, adapter: a}}", "quality: {suite: q.jsonl}"))
    assert len(config.routes["r"].candidates) == 4
    assert config.routes["r"].quality.suite == tmp_path / "q.jsonl"
    program = config.routes["r"].candidates[1].program
    assert program is not None
    assert (config.programs[program].system, len(config.programs[program].shots)) == ("One word.", 1)
    assert config.warnings == ()


def test_a_route_may_bear_the_name_of_a_model(loaded: Load) -> None:
    """So that clients need not change what they ask for."""
    assert "gpt-4o-mini" in loaded(route(SOUND, name="gpt-4o-mini")).routes


def test_wrong_shapes_do_not_stop_the_checks(problems: Problems) -> None:
    """A list where a route should be, a word where candidates should be: the other routes are still checked."""
    text = OWNERS + "routes:\n  a: [1]\n  b: {candidates: x}\n  c: {candidates: [x, {provider: z, model: m}]}\n  d: {candidates: [{provider: [], model: m}]}\n"
    assert [p.line for p in problems(text)] == [4, 5, 6, 6, 7]
