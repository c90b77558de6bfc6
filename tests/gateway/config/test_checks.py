"""What must hold between the sections, routes aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.models import Config
from router.errors import Problem

Load = Callable[..., Config]
Problems = Callable[..., tuple[Problem, ...]]
KEY = {"OPENAI_API_KEY": "k"}


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        ("server: {host: 'http://x'}", "server.host", "the port goes into server.port"),
        ("server: {host: '127.0.0.1:80'}", "server.host", "the port goes into server.port"),
        ("server: {port: 81, admin_port: 81}", "server.admin_port", "is the same as server.port"),
        ("server: {admin_port: 8080}", "server.admin_port", "is the same as server.port"),
        ("budgets: {tags: [{tag: a=b, usd_per_day: 1}, {tag: a=b, usd_per_month: 1}]}", "budgets.tags[1]", "put both limits into one entry"),
        ("budgets: {tags: [{tag: a=b}]}", "budgets.tags[0]", "sets no limit"),
        ("budgets: {tags: [{tag: team, usd_per_day: 1}]}", "budgets.tags[0].tag", "such as team=search"),
        ("budgets: {tags: [x]}", "budgets.tags[0]", "must be a mapping"),
        ("alerts: {webhook: 'ftp://h'}", "alerts.webhook", "http:// or https://"),
        ("alerts: {webhook: 'http://h:x/'}", "alerts.webhook", "must be a URL"),
        ("alerts: {webhook: 'http://h/', at: [0]}", "alerts.at", "each above 0"),
        ("alerts: {webhook: 'http://h/x', secret: 'whsec_%%'}", "alerts.secret", "in base64"),
        ("server: {default_provider: azur}\nproviders: {azure: {}}", "server.default_provider", "did you mean 'azure'?"),
        ("server: {default_provider: x}\nproviders: {}", "server.default_provider", "there is no providers: section"),
        ("server: {data_dir: breakeven.yaml}", "server.data_dir", "is a file"),
        ("database: mysql://h/n", "database", "sqlite:/// or postgresql://"),
        ("database: postgres://h/n", "database", "sqlite:/// or postgresql://"),
        ("database: 'sqlite://'", "database", "a file that all processes share"),
        ("database: 'sqlite:///:memory:'", "database", "a file that all processes share"),
        ("database: sqlite:x.db", "database", "a file that all processes share"),
        ("redis: 127.0.0.1:6379", "redis", "redis://"),
        ("providers: {a: {kind: azure}}", "providers.a", "needs base_url"),
        ("providers: {a/b: {}}", "providers.a/b", "cannot be a name"),
        ("providers: {x: {}}\nengines: {x: {model: a/b}}", "engines.x", "name of a provider too"),
        ("engines: {'': {model: a/b}}", "engines.", "cannot be a name"),
        ("engines: {e: {model: a/b, urls: ['http://h']}}", "engines.e.urls", "cannot stand beside model"),
        ("engines: {e: }", "engines.e", "needs model"),
        ("engines: {e: {urls: []}}", "engines.e", "needs model"),
        ("engines: {e: {urls: ['http://h'], args: [a]}}", "engines.e.args", "launched by someone else"),
        ("engines: {e: {urls: ['http://h'], replicas: 2}}", "engines.e.replicas", "launched by someone else"),
        ("engines: {e: {model: a/b, api_key: x}}", "engines.e.api_key", "launched here"),
        ("engines: {e: {model: a/b, max_lora_rank: 24}}", "engines.e.max_lora_rank", "1, 8, 16, 32, 64, 128, 256, 320, 512, not 24"),
        ("engines: {e: {model: ./none}}", "engines.e.model", "no directory './none'"),
        ("engines: {e: {model: a/b, python: env/bin/python}}", "engines.e.python", "no file 'env/bin/python'"),
        ("engines: {e: {model: a/b, env: {A-B: c}}}", "engines.e.env.A-B", "environment variable"),
        ("engines: {e: {urls: ['http://h'], adapter_path_map: {/a: b}}}", "engines.e.adapter_path_map./a", "beginning with /"),
        ("engines: {e: {urls: ['http://h'], adapter_path_map: {a: /b}}}", "engines.e.adapter_path_map.a", "beginning with /"),
        ("prices: [{provider: opena, model: m, input_usd_per_m: 1, output_usd_per_m: 1}]", "prices[0].provider", "did you mean 'openai'?"),
        (
            "prices: [&p {provider: openai, model: m, effective: 2026-01-01, input_usd_per_m: 1, output_usd_per_m: 1}, {<<: *p, input_usd_per_m: 2}]",
            "prices[1]",
            "first in prices[0]",
        ),
        ("engines: {local: {model: a/b}}\ntraining: {base_aliases: {gpt-4o: locl}}", "training.base_aliases.gpt-4o", "did you mean 'local'?"),
    ],
)
def test_what_is_refused(problems: Problems, text: str, key: str, part: str) -> None:
    """One problem each, at its key, with what to change."""
    found = problems(text, KEY)
    assert [p.key for p in found] == [key]
    assert part in found[0].message


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        ("server: {host: 0.0.0.0}", "server.host", "set server.admin_key"),
        ("providers: {p: {base_url: 'http://h/v1', api_key: k}}", "providers.p.base_url", "unencrypted"),
        ("providers: {a: {models: [m, n]}, b: {models: [x, m]}}", "providers.b.models[1]", "ask for b/m"),
        ("adapters: {import_roots: [., none]}", "adapters.import_roots[1]", "no directory 'none'"),
        ("alerts: {at: [1]}", "alerts", "nobody is told"),
    ],
)
def test_what_is_doubtful(loaded: Load, text: str, key: str, part: str) -> None:
    """It loads, with one warning that has its line."""
    warnings = loaded(text, KEY).warnings
    assert [(w.key, w.line) for w in warnings] == [(key, 1)]
    assert part in warnings[0].message


@pytest.mark.parametrize(
    "text",
    [
        "server: {host: '::', admin_key: k}",
        "server: {host: '::1'}",
        "server: {port: 0, admin_port: 0}",
        "server: {workers: 4}",
        "budgets: {tags: [{tag: team=search, usd_per_day: 1, usd_per_month: 9}]}\nalerts: {webhook: 'https://h/x?y=z', at: [0.5, 1], secret: whsec_c2VjcmV0}",
        "server: {host: 0.0.0.0, admin_key: k}",
        "providers: {azure: {kind: azure, base_url: 'https://x.openai.azure.com/openai/v1', api_key: k}}",
        "providers: {p: {base_url: 'http://127.0.0.1:9/v1', api_key: k, sandbox: true}}",
        "providers: {}",
        "providers:",
        "engines: {e: {urls: ['http://a', 'http://b'], adapter_path_map: {/a: /b}, max_loras: 4}}",
        "database: postgresql+psycopg://u:p@h/n",
    ],
)
def test_what_is_fine(loaded: Load, text: str) -> None:
    """Neither problem nor warning; the default provider need not exist when nobody named it."""
    assert loaded(text, KEY).warnings == ()


def test_a_model_directory_and_an_interpreter_that_exist(loaded: Load, tmp_path: Path) -> None:
    """They are taken, whole."""
    (tmp_path / "base").mkdir()
    (tmp_path / "python").touch()
    engine = loaded("engines: {e: {model: ./base, python: ./python}}", KEY).engines["e"]
    assert (engine.model, engine.python) == (str(tmp_path / "base"), str(tmp_path / "python"))


def test_strange_paths_are_problems_not_crashes(problems: Problems) -> None:
    """A null byte, a home that does not exist, a URL that cannot be split."""
    assert problems('engines: {e: {model: "./a\\0b"}}', KEY) != ()
    assert problems('engines: {e: {model: "~nobody-here/x"}}', KEY) != ()
    assert problems('providers: {e: {base_url: "http://[", api_key: k}}', KEY) != ()
