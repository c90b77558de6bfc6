"""Claims about the way in of an adapter version."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from router.errors import AdapterRefused, RequestError
from serving import registry
from serving.admission import Limits
from serving.database import reading
from serving.intake import Intake, add, examine
from tests.serving.making import lora, make_adapter, make_base, make_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = make_database(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def into(tmp_path: Path) -> Intake:
    base = make_base(tmp_path / "base")
    return Intake("local", str(base), managed=True, limits=Limits(), roots=(tmp_path / "in",), data_dir=tmp_path / "data", cache=tmp_path / "hub")


def test_a_good_directory_becomes_a_version(tmp_path: Path, database: Engine, into: Intake) -> None:
    """It is copied, checked, registered; changing the source afterwards changes nothing that is served."""
    source = make_adapter(tmp_path / "in" / "a")
    made = add(database, into, "support", str(source), "me", 1.0)
    assert (made.adapter, made.version, made.state, made.checks["values"]) == ("support", 1, "registered", "passed")
    before = (Path(made.path) / "adapter_model.safetensors").read_bytes()
    (source / "adapter_model.safetensors").write_bytes(b"other")
    assert (Path(made.path) / "adapter_model.safetensors").read_bytes() == before
    assert add(database, into, "support", str(make_adapter(tmp_path / "in" / "b")), "me", 2.0).version == 1


def test_a_bad_directory_leaves_no_trace(tmp_path: Path, database: Engine, into: Intake) -> None:
    """A refusal keeps neither rows nor files, and names every reason in one sentence."""
    source = make_adapter(tmp_path / "in" / "a", {k: ("I16", s, r[: len(r) // 2]) for k, (_, s, r) in lora().items()}, base_model_name_or_path="x")
    with pytest.raises(AdapterRefused, match=r"trained on x.*weights in I16") as caught:
        add(database, into, "support", str(source), "me", 1.0)
    assert [reason.code for reason in caught.value.reasons] == ["base_mismatch", "dtype"]
    with reading(database) as conn:
        assert registry.views(conn) == {}
    assert list((tmp_path / "data" / "adapters").iterdir()) == []


def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path: Path, database: Engine, into: Intake) -> None:
    """507 with a remedy, nothing left; and whatever else the file system refuses is told as well."""
    source = make_adapter(tmp_path / "in" / "a")
    usual, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, usual[1]))
    try:
        with pytest.raises(RequestError, match=r"no room for a copy.*free some") as caught:
            add(database, into, "support", str(source), "me", 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, handler)
    assert (caught.value.status, caught.value.code) == (507, "insufficient_storage")
    assert list((tmp_path / "data" / "adapters").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be copied to") as caught:
        add(database, replace(into, data_dir=tmp_path / "file"), "support", str(source), "me", 1.0)
    assert caught.value.status == 500
    assert add(database, into, "support", str(source), "me", 1.0).version == 1


def test_examining_keeps_nothing(tmp_path: Path, into: Intake) -> None:
    """A dry run finds the same digest and checks."""
    digest, admission = examine(into, str(make_adapter(tmp_path / "in" / "a")))
    assert len(digest) == 64
    assert admission.checks["shapes"] == "passed"
    assert list((tmp_path / "data" / "adapters").iterdir()) == []
    with pytest.raises(AdapterRefused):
        examine(into, str(make_adapter(tmp_path / "in" / "b", use_dora=True)))


def test_a_managed_engine_needs_its_base_here(tmp_path: Path, into: Intake) -> None:
    """Without the model shapes cannot be checked: refused with what to do. An engine that someone else runs goes on, unchecked."""
    source = make_adapter(tmp_path / "in" / "a")
    with pytest.raises(AdapterRefused) as caught:
        examine(replace(into, model="Qwen/Nowhere"), str(source))
    assert caught.value.reasons[0].code == "base_missing"
    _, admission = examine(replace(into, model=None, managed=False), str(source))
    assert admission.checks["shapes"].startswith("unchecked")
    (tmp_path / "base" / "config.json").unlink()
    with pytest.raises(AdapterRefused) as caught:
        examine(into, str(source))
    assert caught.value.reasons[0].code == "base_damaged"
