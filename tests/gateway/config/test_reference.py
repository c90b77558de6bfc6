"""deploy/breakeven.yaml is the reference: it holds every key, with its default, a comment each, and loads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from gateway.config.document import from_text
from gateway.config.load import load, loads
from gateway.config.models import Config

REFERENCE = Path(__file__).resolve().parents[3] / "deploy/breakeven.yaml"
TEXT = REFERENCE.read_text()
WHOLE = re.sub(r"^( *)#: ", r"\1", TEXT, flags=re.MULTILINE)
ENVIRON = {"OPENAI_API_KEY": "k"}


def test_it_loads() -> None:
    """As it stands, without a warning."""
    config = load(REFERENCE, ENVIRON)
    assert config.warnings == ()
    assert [c.owner for c in config.routes["support-triage"].candidates] == ["openai", "local"]


def test_it_loads_with_everything_taken_in(tmp_path: Path) -> None:
    """The lines that begin with #: are configuration, given the files they name."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "prompts" / "triage.txt").write_text("Sort it.")
    (tmp_path / "prompts" / "shots.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    (tmp_path / "docs" / "returns.md").write_text("Returns take two weeks.")
    config = loads(WHOLE, tmp_path / "breakeven.yaml", ENVIRON)
    assert config.engines["theirs"].replica_count == 1
    assert config.prices[0].to_router().input == 150_000_000
    assert config.routes["support-triage"].candidates[2].program is not None


def _sections(kind: object, data: object, at: str = "") -> Iterator[tuple[str, type[BaseModel], dict[str, object]]]:
    """Every section of the data with its model."""
    if get_origin(kind) in (Union, UnionType):
        kind = next(inner for inner in get_args(kind) if inner is not type(None))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        assert isinstance(data, dict), at
        yield at, kind, data
        for name, field in kind.model_fields.items():
            if data.get(name) is not None:
                yield from _sections(field.annotation, data[name], f"{at}.{name}")
    elif get_origin(kind) is dict and isinstance(data, dict):
        for name, value in data.items():
            yield from _sections(get_args(kind)[1], value, f"{at}.{name}")
    elif get_origin(kind) is tuple and isinstance(data, list):
        for value in data:
            yield from _sections(get_args(kind)[0], value, at)


FOUND = list(_sections(Config, from_text(WHOLE, "f", ENVIRON).data))


@pytest.mark.parametrize("model", sorted({model for _, model, _ in FOUND}, key=str))
def test_every_key_is_there(model: type[BaseModel]) -> None:
    """A field that a model gains must be written down here too."""
    seen = {key for _, kind, data in FOUND if kind is model for key in data}
    assert seen == set(model.model_fields)


def test_every_section_is_there() -> None:
    """No class of models.py, prices.py and budgets.py is missing from the walk above."""
    from gateway.config import budgets, models, prices

    named = {**vars(models), **vars(prices), **vars(budgets)}
    classes = {value for name, value in named.items() if name.endswith(("Config", "Override", "Step")) and isinstance(value, type)}
    assert classes == {model for _, model, _ in FOUND}


def test_every_key_has_a_comment() -> None:
    """On its own line, so that it can be read where it is needed."""
    missing = [line for line in WHOLE.splitlines() if re.match(r" *(- )?[\w-]+:( |$)", line) and "# " not in line and not re.match(r"^\w+:$", line)]
    assert missing == []


def test_values_are_the_defaults_or_called_examples() -> None:
    """Who reads the file reads the truth about what happens without a key."""
    document = from_text(WHOLE, "f", ENVIRON)
    examples = {number for number, line in enumerate(WHOLE.splitlines(), start=1) if "(example)" in line}
    for at, model, data in FOUND:
        for key, value in data.items():
            if isinstance(value, dict) and value:
                continue
            default = model.model_fields[key].default
            plain = [str(item) for item in default] if isinstance(default, tuple) else default
            listed = list(default) if isinstance(default, tuple) else default
            same = value in (plain, listed) or str(value) == str(default) or (default is None and value in {"", ENVIRON["OPENAI_API_KEY"]})
            assert same or _line(document.root, at, key) in examples, f"{at}.{key} is {value!r}, by default {default!r}"


def _line(root: object, at: str, key: str) -> int:
    from gateway.config.marks import Node

    node, line = root, 0
    for part in [*filter(None, at.split(".")), key]:
        assert isinstance(node, Node)
        found = node.value
        if isinstance(found, list):
            found = next(item.value for item in reversed(found) if isinstance(item.value, dict) and part in item.value)
        assert isinstance(found, dict)
        line, node = found[part].line, found[part].node
    return line
