"""A configuration in a directory of its own, and what is wrong with it as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.models import Config
from router.errors import ConfigError, Problem

Load = Callable[..., Config]
Problems = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Write a text to breakeven.yaml and load it."""

    def write_and_load(text: str, environ: Mapping[str, str] | None = None, **server: object) -> Config:
        path = tmp_path / "breakeven.yaml"
        path.write_text(text)
        return load(path, environ or {}, server or None)

    return write_and_load


@pytest.fixture
def problems(loaded: Load) -> Problems:
    """The problems of a text; () when it loads."""

    def of(text: str, environ: Mapping[str, str] | None = None, **server: object) -> tuple[Problem, ...]:
        try:
            loaded(text, environ, **server)
        except ConfigError as error:
            return error.problems
        return ()

    return of
