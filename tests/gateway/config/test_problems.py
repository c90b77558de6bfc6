"""How what pydantic finds is worded."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import pytest
from pydantic import BaseModel, TypeAdapter

from gateway import config
from gateway.config.models import Config
from gateway.config.problems import fields_at, similar
from router.errors import Problem

Problems = Callable[..., tuple[Problem, ...]]
ROUTE = "providers: {{p: {{}}}}\nroutes: {{r: {{candidates: [{{provider: p, model: m}}], {}}}}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {port: x}", "1: server.port: must be a whole number, not 'x'"),
        ("server: {port: 1.5}", "1: server.port: must be a whole number, not 1.5"),
        ("server: {port: 70000}", "1: server.port: must be at most 65535, not 70000"),
        ("server: {port: [1]}", "1: server.port: must be a whole number, not a list"),
        ("server: {host: 5}", "1: server.host: must be text (put it in quotes), not 5"),
        ("server: {host: ''}", "1: server.host: must not be empty, not ''"),
        ("server: {workers: true}", "1: server.workers: must be a number, not true"),
        ("server: {data_dir: 5}", "1: server.data_dir: must be a path, not 5"),
        ("server: [a]", "1: server: must be a mapping: lines of `key: value`, not a list"),
        ("routes: [a]", "1: routes: must be a mapping: lines of `key: value`, not a list"),
        ("prices: {a: b}", "1: prices: must be a list: [a, b] or lines that begin with -, not a mapping"),
        ("providers: {p: {sandbox: 2}}", "1: providers.p.sandbox: must be true or false, not 2"),
        ("providers: {p: {kind: opena}}", "1: providers.p.kind: must be 'openai', 'azure' or 'compatible', not 'opena'"),
        ("providers: {p: {models: gpt-4o}}", "1: providers.p.models: must be \"*\" (any model) or a list of model names, not 'gpt-4o'"),
        ("providers: {p: {api_key: 5}}", "1: providers.p.api_key: must be text (put it in quotes)"),
        ("engines: {e: {model: m, gpu_hour_usd: cheap}}", "1: engines.e.gpu_hour_usd: must be an amount in dollars such as 2.50, not 'cheap'"),
        ("engines: {e: {model: m, gpu_hour_usd: 0.0000000001}}", "1: engines.e.gpu_hour_usd: must have at most 9 decimal places, not 1e-10"),
        ("engines: {e: {model: m, startup_timeout_s: .inf}}", "1: engines.e.startup_timeout_s: must be a finite number, not inf"),
        (ROUTE.format("slo: {ttft_ms: 0}"), "2: routes.r.slo.ttft_ms: must be more than 0, not 0"),
        (ROUTE.format("slo: {target: 1}"), "2: routes.r.slo.target: must be less than 1, not 1"),
        (ROUTE.format("budget: {usd_per_day: -3}"), "2: routes.r.budget.usd_per_day: must be at least 0, not -3"),
        (ROUTE.format("capture: {redact: [phones]}"), "2: routes.r.capture.redact[0]: must be 'email', 'phone' or 'card', not 'phones'"),
        ("routes:\n  r: {}", "2: routes.r.candidates: is required: add it"),
        ("routes:\n  r: {candidates: null}", "2: routes.r.candidates: must be a list: [a, b] or lines that begin with -, not null"),
        ("routes:\n  r: {candidates: []}", "2: routes.r.candidates: needs at least one entry"),
    ],
)
def test_wording(problems: Problems, text: str, said: str) -> None:
    """What it must be, then what it is."""
    assert [str(p).split("breakeven.yaml:")[1] for p in problems(text)] == [said]


def test_a_key_in_the_wrong_section_lists_the_right_ones(problems: Problems) -> None:
    """With the nearest first, where one is near."""
    found = problems(ROUTE.format("slo: {ttft: 5}, timeouts: {zzz: 1}"))
    assert found[0].message == "is not a key I know (did you mean 'ttft_ms'?): known here are ttft_ms, total_ms, target"
    assert "did you mean" not in found[1].message


def test_keys_are_found_at_any_depth() -> None:
    """Through mappings, lists and optional sections."""
    assert fields_at(Config, ("routes", "r", "candidates", 0, "program", "retrieval")) == ["source", "k", "timeout_ms"]
    assert "port" in fields_at(Config, ("server",))
    assert fields_at(Config, ("providers",)) == []


def test_similar_needs_to_be_near() -> None:
    """No guess is better than a strange one."""
    assert similar("opnai", ["openai", "azure"]) == " (did you mean 'openai'?)"
    assert similar("zebra", ["openai"]) == ""


def test_every_error_a_model_can_raise_is_worded() -> None:
    """Each wrong thing in each key gives a sentence of ours, none of pydantic's."""
    pydantics = ("Input should", "Field required", "Extra inputs", "Value error")
    wrong: tuple[object, ...] = (None, True, -1, 0, 1e400, 10**40, 1.5, "", "x", [], [1], {}, {"a": 1}, "\ud800")
    worded = sum(_check_worded(model, name, value, pydantics) for model in _sections(Config) for name in model.model_fields for value in wrong)
    assert worded > 500


def _sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    schema = TypeAdapter(model).json_schema()
    rooms = [importlib.import_module(f"gateway.config.{found.name}") for found in pkgutil.iter_modules(config.__path__)]
    return {next(found for room in rooms if (found := getattr(room, name, None)) is not None) for name in schema["$defs"]} | {model}


def _check_worded(model: type[BaseModel], name: str, value: object, pydantics: tuple[str, ...]) -> int:
    """How many sentences it gave."""
    from pydantic import ValidationError

    from gateway.config.document import Document
    from gateway.config.problems import shape

    messages: list[str] = []
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        messages = [message for _, message in shape(Document("f"), model, error)]
        for message in messages:
            assert not any(part in message for part in pydantics), (model, name, value, message)
    return len(messages)
