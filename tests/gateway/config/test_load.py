"""From a file to a configuration, or to all its problems at once."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.load import find, load, loads
from gateway.config.models import Config
from router.errors import ConfigError, Problem

Load = Callable[..., Config]
Problems = Callable[..., tuple[Problem, ...]]

TEN_LINES = """
engines:
  local:
    model: Qwen/Qwen2.5-7B-Instruct
    gpu_hour_usd: 2.50
routes:
  support-triage:
    candidates:
      - {provider: openai, model: gpt-4o-mini}
      - {engine: local, adapter: support-triage}
"""


def test_ten_lines_are_a_configuration(loaded: Load, tmp_path: Path) -> None:
    """The provider everyone has is there with the key OpenAI's own client uses, paths lie beside the file."""
    config = loaded(TEN_LINES, {"OPENAI_API_KEY": "hunter2"})
    openai = config.providers["openai"]
    assert openai.api_key is not None
    assert openai.api_key.get_secret_value() == "hunter2"
    assert (openai.kind, openai.base_url, openai.models) == ("openai", "https://api.openai.com/v1", "*")
    assert (config.server.port, config.server.data_dir) == (8080, tmp_path / ".breakeven")
    assert config.database == f"sqlite:///{tmp_path}/breakeven.db"
    assert config.source == tmp_path / "breakeven.yaml"
    assert config.warnings == ()
    assert "hunter2" not in repr(config)


def test_without_a_key_there_is_a_warning(loaded: Load) -> None:
    """The configuration holds (local engines work), and says what will fail."""
    config = loaded(TEN_LINES)
    assert config.providers["openai"].api_key is None
    assert [(w.key, "401" in w.message) for w in config.warnings] == [("providers.openai", True)]


def test_openais_key_goes_to_openai_alone(loaded: Load) -> None:
    """An entry with another address, kind or an explicit key keeps what it says."""
    text = """
providers:
  a: {kind: compatible, base_url: "http://127.0.0.1:1/v1"}
  b: {base_url: "http://127.0.0.1:1/v1", sandbox: true}
  c: {api_key: own}
  d: {base_url: "https://api.openai.com/v1/"}
  e:
  f: {api_key: null}
"""
    keys = {name: p.api_key and p.api_key.get_secret_value() for name, p in loaded(text, {"OPENAI_API_KEY": "hunter2"}).providers.items()}
    assert keys == {"a": None, "b": None, "c": "own", "d": "hunter2", "e": "hunter2", "f": None}


def test_variables_are_typed_by_their_key(loaded: Load) -> None:
    """Numbers, booleans, nulls and digits that are text."""
    text = """
server: {port: "${PORT:-8080}", admin_port: "${ADMIN_PORT:-}", admin_key: "${ADMIN}", workers: "${WORKERS:-2}"}
redis: "${REDIS:-redis://127.0.0.1:6379/0}"
providers: {openai: {sandbox: "${SANDBOX}", api_key: "${DIGITS}", models: "${MODELS:-*}"}}
routes: {r: {candidates: [{provider: openai, model: "${DIGITS}"}], budget: {usd_per_day: "${USD}"}, capture: {sample: "${SHARE}"}}}
"""
    environ = {"PORT": "9000", "ADMIN": "1234", "SANDBOX": "true", "DIGITS": "0123", "USD": "0.10", "SHARE": "1"}
    config = loaded(text, environ)
    route = config.routes["r"]
    assert (config.server.port, config.server.admin_port, config.server.workers) == (9000, None, 2)
    assert config.server.admin_key is not None
    assert config.server.admin_key.get_secret_value() == "1234"
    assert config.providers["openai"].sandbox is True
    assert config.providers["openai"].models == "*"
    assert (route.candidates[0].model, type(route.candidates[0].model)) == ("0123", str)
    assert (route.budget.nanousd_per_day, route.capture.sample) == (100_000_000, 1.0)


def test_five_mistakes_show_all_five_with_file_and_line(tmp_path: Path) -> None:
    """Each in the order of the file, each with what to change."""
    path = tmp_path / "bad.yaml"
    path.write_text("""server:
  prot: 8080
providers:
  openai: {api_key: "${MISSING_KEY}"}
engines:
  local: {model: a/b, urls: ["http://127.0.0.1:8000"]}
routes:
  triage:
    candidates:
      - {provider: opnai, model: gpt-4o-mini}
    slo: {total_ms: -5}
""")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert caught.value.message.splitlines() == [
        f"{path} has 5 problems:",
        f"{path}:2: server.prot: is not a key I know (did you mean 'port'?): known here are host, port, workers, admin_key, admin_port, data_dir, "
        "files_gib, default_provider, max_in_flight, max_queue, cors_origins",
        f"{path}:4: the environment variable MISSING_KEY is not set: set it, or write ${{MISSING_KEY:-}} to do without",
        f"{path}:6: engines.local.urls: cannot stand beside model: keep model to launch vLLM here, or urls for a vLLM that someone else runs",
        f"{path}:10: routes.triage.candidates[0].provider: there is no provider 'opnai' (did you mean 'openai'?); providers here: openai",
        f"{path}:11: routes.triage.slo.total_ms: must be more than 0, not -5",
    ]
    assert [(p.file, p.line) for p in caught.value.problems] == [(str(path), line) for line in (2, 4, 6, 10, 11)]


MISTAKES = {
    "server.prot": "server: {prot: 1}",
    "database": "database: mysql://h/n",
    "redis": "redis: http://h",
    "providers.p.base_url": "providers: {p: {kind: compatible, base_url: nowhere}}",
    "engines.e": "engines: {e: {max_loras: 4}}",
    "adapters.import_roots": "adapters: {import_roots: x}",
    "prices[0].effective": "prices: [{provider: p, model: m, effective: soon, input_usd_per_m: 1, output_usd_per_m: 1}]",
    "training.runner": "training: {runner: cloud}",
    "routes.r.candidates": "routes: {r: {candidates: []}}",
}
SOUND = {"providers": "providers: {p: {}}"}


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(sorted(MISTAKES)), min_size=1), st.randoms(use_true_random=False))
def test_any_set_of_mistakes_is_reported_whole(tmp_path_factory: pytest.TempPathFactory, keys: set[str], random: object) -> None:
    """Whatever is wrong together, each mistake is there once, on its own line, and nothing else is."""
    order = sorted(keys)
    random.shuffle(order)  # type: ignore[attr-defined]
    lines = [MISTAKES[key] for key in order]
    if "providers.p.base_url" not in keys:
        lines.append(SOUND["providers"])
    path = tmp_path_factory.mktemp("c") / "breakeven.yaml"
    with pytest.raises(ConfigError) as caught:
        loads("\n".join(lines), path, {})
    assert [(p.line, p.key) for p in caught.value.problems] == [(line, key) for line, key in enumerate(order, start=1)]


def test_every_pair_of_mistakes_in_one_section_is_reported(problems: Problems) -> None:
    """One wrong key of a section does not hide another, whatever finds it."""
    parts = {
        "zone: 1": "engines.e.zone",
        "urls: [nowhere]": "engines.e.urls[0]",
        "gpu_hour_usd: -1": "engines.e.gpu_hour_usd",
        "replicas: 0": "engines.e.replicas",
        "max_lora_rank: 33": "engines.e.max_lora_rank",
        "startup_timeout_s: x": "engines.e.startup_timeout_s",
        "args: {a: b}": "engines.e.args",
        "env: {1x: y}": "engines.e.env.1x",
    }
    for (one, first), (two, second) in itertools.combinations(parts.items(), 2):
        found = {p.key for p in problems(f"engines:\n  e:\n    model: a/b\n    {one}\n    {two}\n")}
        assert {first, second} <= found, (one, two)


def test_an_aliased_mistake_is_one_problem(problems: Problems) -> None:
    """It is wrong in one place, however often it is used."""
    text = "providers: {p: {}}\nx: 1\nroutes:\n  a: &a\n    candidates: [{provider: p, model: m}]\n    slo: {target: 2}\n  b: *a\n"
    assert [(p.line, p.key) for p in problems(text)] == [(2, "x"), (6, "routes.a.slo.target")]


def test_anchors_and_merges_reach_the_models(loaded: Load) -> None:
    """A timeout table is written once and changed in one route."""
    text = """
providers: {p: {}}
routes:
  a:
    candidates: &c [{provider: p, model: m}]
    timeouts: &t {connect_ms: 1, idle_ms: 2}
  b: {candidates: *c, timeouts: {<<: *t, idle_ms: 3}}
"""
    config = loaded(text)
    assert (config.routes["b"].timeouts.connect_ms, config.routes["b"].timeouts.idle_ms) == (1, 3)
    assert config.routes["a"].candidates == config.routes["b"].candidates


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("", 1, "is empty"),
        ("server: {port: 1\n", 2, "not valid YAML"),
        ("routes: &a {b: *a}\n", 1, "contain itself"),
        ("- 1\n", 1, "key: value"),
        ("server: 5\n", 1, "mapping"),
    ],
)
def test_files_that_are_no_configuration(problems: Problems, text: str, line: int, part: str) -> None:
    """Each is a problem with a line, not an exception of the YAML library."""
    found = problems(text)
    assert found[0].line == line
    assert part in found[0].message


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """It says how to name another."""
    with pytest.raises(ConfigError, match="BREAKEVEN_CONFIG") as caught:
        load(tmp_path / "none.yaml", {})
    assert caught.value.problems[0].line is None


SECRETS = {"KEY": "hunter2-key", "DB": "mysql://u:hunter2-db@h", "REDIS": "hunter2-redis", "URL": "ftp://u:hunter2-url@h", "WORD": "hunter2-word"}


def test_secrets_never_show_in_problems(tmp_path: Path) -> None:
    """Neither written ones nor values from the environment, in message or traceback, whatever is wrong around them."""
    path = tmp_path / "breakeven.yaml"
    path.write_text("""
server: {admin_key: [hunter2-list], port: "${WORD}", default_provider: "${WORD}", host: "${WORD} x"}
database: "${DB}"
redis: "${REDIS}"
providers:
  a: {api_key: {hunter2-x: 1}, base_url: "${URL}", headers: {x: [hunter2-header]}, kind: "${WORD}"}
  b: {api_key: "${KEY}", base_url: "https://u:hunter2-pw@h", models: "${WORD}"}
engines:
  e: {urls: ["http://hunter2-pw@h:1"], api_key: 5, env: {T: [hunter2-env]}, model: "./${WORD}", gpu_hour_usd: "${WORD}"}
prices: [{provider: "${WORD}", model: m, effective: "${WORD}", input_usd_per_m: "${WORD}", output_usd_per_m: 1}]
training: {base_aliases: {x: "${WORD}"}}
routes:
  r: {candidates: [{provider: "${WORD}", model: m}, {engine: "${WORD}", adapter: "${WORD}@1"}], quality: {suite: "${WORD}"}}
""")
    with pytest.raises(ConfigError) as caught:
        load(path, SECRETS)
    shown = "".join(traceback.format_exception(caught.value)) + str([p.as_dict() for p in caught.value.problems])
    assert len(caught.value.problems) >= 18
    assert "hunter2" not in shown


def test_nothing_is_said_twice_about_an_unset_variable(problems: Problems) -> None:
    """Where a value is missing, its type, range and target are not complained about too."""
    text = """
server: {port: "${X1}", default_provider: "${X2}"}
providers: {p: {kind: compatible, base_url: "${X3}", models: [a, "${X4}"]}}
engines: {e: {model: "${X5}", urls: ["${X6}"]}}
routes: {r: {candidates: [{provider: "${X7}", model: m}], quality: {suite: "${X8}"}}}
"""
    found = problems(text)
    assert [p.key for p in found if p.key] == ["engines.e.urls"]
    assert len(found) == 9


def test_the_command_line_overrides_the_server_section(loaded: Load, problems: Problems) -> None:
    """It is checked like the file, and blamed instead of it."""
    text = "server: {port: 99999, workers: 1}\nproviders: {p: {}}\n"
    assert loaded(text, port=0).server.port == 0
    assert [str(p) for p in problems(text, port=70000)] == ["--port: must be at most 65535"]
    workers = problems("providers: {p: {}}\n", workers=0)
    assert [(p.file, p.line, p.key) for p in workers] == [(None, None, "--workers")]
    assert "at least 1" in workers[0].message


def test_loading_is_pure(loaded: Load) -> None:
    """The same file and environment give equal configurations; another environment another."""
    assert loaded(TEN_LINES, {"OPENAI_API_KEY": "a"}) == loaded(TEN_LINES, {"OPENAI_API_KEY": "a"})
    assert loaded(TEN_LINES, {"OPENAI_API_KEY": "a"}) != loaded(TEN_LINES, {"OPENAI_API_KEY": "b"})


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    """-c, then BREAKEVEN_CONFIG, then ./breakeven.yaml."""
    assert find("x.yaml", {"BREAKEVEN_CONFIG": "y.yaml"}, tmp_path) == tmp_path / "x.yaml"
    assert find(None, {"BREAKEVEN_CONFIG": "/y.yaml"}, tmp_path) == Path("/y.yaml")
    assert find(None, {"BREAKEVEN_CONFIG": ""}, tmp_path) == tmp_path / "breakeven.yaml"
    assert find(None, {}, tmp_path) == tmp_path / "breakeven.yaml"


def test_a_relative_path_is_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems name the file as it was given; the configuration knows it whole."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("providers: {p: {}}\n")
    assert load(Path("c.yaml"), {}).source == tmp_path / "c.yaml"
    Path("c.yaml").write_text("x: 1\n")
    with pytest.raises(ConfigError, match=r"^c.yaml has 1 problem:"):
        load(Path("c.yaml"), {})
