"""Gateways to ask: one with a day behind it, a fresh one, one with an admin key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.admin import world
from tests.gateway.admin.world import World


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway with a day of three routes behind it. Tests only read it."""
    config = world.configure(tmp_path_factory.mktemp("lived"))
    database = world.fresh(config)
    world.past(database, config, pace=0.35)
    with world.serve(config, database) as made:
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    """A gateway that nobody has asked anything."""
    config = world.configure(tmp_path)
    with world.serve(config, world.fresh(config)) as made:
        yield made


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[World]:
    """A fresh gateway with an admin key."""
    config = world.configure(tmp_path, admin_key=world.ADMIN_KEY)
    with world.serve(config, world.fresh(config)) as made:
        yield made


@pytest.fixture
def ask(lived: World) -> Iterator[httpx.Client]:
    """A client of the gateway with a day behind it."""
    with httpx.Client(base_url=lived.url) as client:
        yield client
