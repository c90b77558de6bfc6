"""Claims about reading safetensors files without loading them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from router.errors import DataError
from serving.tensors import Tensor, header, scan
from tests.serving.making import floats, safetensors


def one(path: Path, values: list[float], dtype: str = "F32") -> Tensor:
    safetensors(path, {"before": ("F32", (1,), floats([9e9])), "w": (dtype, (len(values),), floats(values, dtype)), "after": ("F32", (1,), floats([9e9]))})
    return next(t for t in header(path) if t.name == "w")


@pytest.mark.parametrize("dtype", ["F32", "F64", "BF16"])
def test_a_scan_finds_the_largest_magnitude(tmp_path: Path, dtype: str) -> None:
    """Negative or positive, in each float format, and nothing of the neighbours."""
    path = tmp_path / "x.safetensors"
    assert scan(path, one(path, [0.5, -2.0, 1.0], dtype)).largest == 2.0
    assert scan(path, one(path, [0.5, 4.0, -1.0], dtype)).largest == 4.0
    assert scan(path, one(path, [], dtype)).largest == 0.0


@pytest.mark.parametrize("dtype", ["F32", "F64", "BF16", "F16"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_value_among_many_is_found(tmp_path: Path, dtype: str, bad: float) -> None:
    """A single NaN or infinity anywhere makes a tensor not finite, across chunk borders too."""
    path = tmp_path / "x.safetensors"
    for place in (0, 40_000, 69_999):
        values = [0.25] * 70_000
        values[place] = bad
        assert not scan(path, one(path, values, dtype)).finite
    assert scan(path, one(path, [0.25] * 70_000, dtype)).finite


def test_opposite_infinities_do_not_hide_each_other(tmp_path: Path) -> None:
    """Infinity and minus infinity are found together; large finite doubles whose sum overflows are still finite."""
    path = tmp_path / "x.safetensors"
    assert not scan(path, one(path, [math.inf, -math.inf])).finite
    found = scan(path, one(path, [1.7e308, 1.7e308], "F64"))
    assert found.finite
    assert found.largest == 1.7e308


def test_values_of_other_formats_are_not_looked_at(tmp_path: Path) -> None:
    """Integers are read as headers only."""
    path = tmp_path / "x.safetensors"
    safetensors(path, {"x": ("I16", (1,), b"\0\0")})
    with pytest.raises(DataError, match="I16"):
        scan(path, header(path)[0])


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    """Bytes that the header promised and that are not there are an error, not zeros."""
    path = tmp_path / "x.safetensors"
    tensor = one(path, [1.0] * 100)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="cut off"):
        scan(path, tensor)


def raw(path: Path, entries: object, data: bytes = b"") -> Path:
    head = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)
    return path


@pytest.mark.parametrize(
    ("entries", "data", "said"),
    [
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 4, "cut off or too long"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 8, "cut off or too long"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4, "not what its shape"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8, "overlap others or leave a gap"),
        ({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4, "lacks dtype, shape or offsets"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}, b"\0" * 4, "lacks dtype, shape or offsets"),
        ({"w": 3}, b"", "is not an object"),
        ([1], b"", "not a JSON object"),
        (b"{{", b"", "cannot be read"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, entries: object, data: bytes, said: str) -> None:
    """Whatever does not add up to the file's own size is an error that says what."""
    with pytest.raises(DataError, match=said):
        header(raw(tmp_path / "x.safetensors", entries, data))


@pytest.mark.parametrize("content", [b"", b"\0" * 7, (10**12).to_bytes(8, "little") + b"{}", (0).to_bytes(8, "little")])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, too short, or with a header longer than the file."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a safetensors file"):
        header(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """It cannot be read."""
    with pytest.raises(DataError, match="cannot be read"):
        header(tmp_path / "none")
