"""Claims about adapter directories on disk: where they may come from, and that what was checked is what is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from router.errors import AdapterRefused
from serving import storage
from tests.serving.making import make_adapter


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def code(caught: pytest.ExceptionInfo[AdapterRefused]) -> str:
    assert caught.value.reasons[0].remedy
    return caught.value.reasons[0].code


PLACES = {
    "/etc": "outside_roots",
    "{root}/../secret": "outside_roots",
    "{root}/none": "not_found",
    "{root}/file": "not_a_directory",
    "{root}/way": "outside_roots",
    "{root}/\0": "not_found",
}


@pytest.mark.parametrize(("path", "expected"), PLACES.items())
def test_only_directories_inside_the_import_roots(tmp_path: Path, root: Path, path: str, expected: str) -> None:
    """Other places, dots that lead out, links that lead out, files and nothing are refused."""
    (tmp_path / "secret").mkdir()
    (root / "file").write_text("")
    (root / "way").symlink_to(tmp_path / "secret")
    with pytest.raises(AdapterRefused) as caught:
        storage.locate(path.format(root=root), [root])
    assert code(caught) == expected


def test_links_inside_the_roots_are_followed(tmp_path: Path, root: Path, data: Path) -> None:
    """A link to another place inside the roots is that place, and linked files are copied as files."""
    real = make_adapter(root / "real")
    (root / "link").symlink_to(real)
    assert storage.locate(str(root / "link"), [root]) == real
    blob = root / "blob"
    (real / "adapter_config.json").rename(blob)
    (real / "adapter_config.json").symlink_to(blob)
    staged = storage.stage(real, data, [root])
    assert not (staged.path / "adapter_config.json").is_symlink()


def test_a_link_out_of_the_roots_is_refused(tmp_path: Path, root: Path, data: Path) -> None:
    """A file that is a link to a secret would be copied and served: no."""
    adapter = make_adapter(root / "a")
    (tmp_path / "secret").write_text("x")
    (adapter / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(AdapterRefused) as caught:
        storage.stage(adapter, data, [root])
    assert code(caught) == "symlink"
    assert not list((data / "adapters").glob("*")) if (data / "adapters").exists() else True


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "x.pkl", "X.PKL", "model.pth", "a.ckpt"])
def test_pickles_are_refused(root: Path, data: Path, name: str) -> None:
    """A pickle can run code when it is loaded: a directory that holds one does not go in."""
    adapter = make_adapter(root / "a")
    (adapter / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
    with pytest.raises(AdapterRefused) as caught:
        storage.stage(adapter, data, [root])
    assert code(caught) == "pickle"


def test_what_trainers_leave_beside_is_left_behind(root: Path, data: Path) -> None:
    """Known leftovers that are pickles, hidden files and sub-directories are neither copied nor part of the digest."""
    adapter = make_adapter(root / "a")
    plain = storage.stage(adapter, data, [root])
    for name in ("training_args.bin", "optimizer.pt", "rng_state_0.pth", ".hidden"):
        (adapter / name).write_bytes(b"x")
    (adapter / "checkpoint-10").mkdir()
    staged = storage.stage(adapter, data, [root])
    assert staged.digest == plain.digest
    assert sorted(p.name for p in staged.path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_what_is_not_a_file_is_refused(root: Path, data: Path) -> None:
    """A pipe would be read for ever."""
    adapter = make_adapter(root / "a")
    os.mkfifo(adapter / "pipe")
    with pytest.raises(AdapterRefused) as caught:
        storage.stage(adapter, data, [root])
    assert code(caught) == "not_a_file"


def test_size_and_number_are_bounded(root: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files or too many bytes are refused before anything is copied."""
    adapter = make_adapter(root / "a")
    monkeypatch.setattr(storage, "MOST_BYTES", 100)
    with pytest.raises(AdapterRefused) as caught:
        storage.stage(adapter, data, [root])
    assert code(caught) == "too_large"


def test_the_digest_is_of_names_and_bytes(root: Path, data: Path) -> None:
    """Equal content has one digest wherever it lies; a changed byte or name has another."""
    one, two = make_adapter(root / "a"), make_adapter(root / "b")
    first = storage.stage(one, data, [root]).digest
    assert storage.stage(two, data, [root]).digest == first
    (two / "adapter_config.json").write_text("{}")
    assert storage.stage(two, data, [root]).digest != first
    (one / "extra.json").write_text("")
    assert storage.stage(one, data, [root]).digest != first


def test_publishing_is_one_rename_and_read_only(root: Path, data: Path) -> None:
    """The place is adapters/<name>/<digest>, nobody writes there any more, and the same content twice is one directory."""
    adapter = make_adapter(root / "a")
    staged = storage.stage(adapter, data, [root])
    place = storage.publish(staged, data, "a")
    assert place == data / "adapters" / "a" / staged.digest
    assert {p.stat().st_mode & 0o222 for p in (place, *place.iterdir())} == {0}
    again = storage.publish(storage.stage(adapter, data, [root]), data, "a")
    assert again == place
    assert [p.name for p in (data / "adapters").iterdir()] == ["a"]


def test_a_failed_copy_leaves_nothing(root: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full in the middle, the error comes out and no half of a copy stays."""
    adapter = make_adapter(root / "a")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        storage.stage(adapter, data, [root])
    assert list((data / "adapters").iterdir()) == []


def test_only_our_own_directories_are_removed(root: Path, data: Path) -> None:
    """Removal takes published directories and nothing else, whatever the database says."""
    place = storage.publish(storage.stage(make_adapter(root / "a"), data, [root]), data, "a")
    assert not storage.remove(root / "a", data)
    assert (root / "a").is_dir()
    assert not storage.remove(data / "adapters", data)
    assert storage.remove(place, data)
    assert not place.exists()


def test_unfinished_copies_are_swept(root: Path, data: Path) -> None:
    """What a killed process left half-copied is removed at the next start."""
    storage.stage(make_adapter(root / "a"), data, [root])
    storage.sweep_staging(data)
    assert list((data / "adapters").iterdir()) == []
