"""Safetensors files read without loading them: the header, and one pass over a tensor's values. Standard library only, so that the gateway needs no numpy.

Public: `header(path) -> tuple[Tensor, ...]`, `scan(path, tensor) -> Scan`. Not here: what an adapter's tensors must be (admission.py).
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import DataError
from serving import documents

WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
READABLE = ("F64", "F32", "BF16", "F16")
_MOST_HEADER = 8 << 20  # the format allows 100 MB; seven modules in 200 layers take half a megabyte
_CHUNK = 1 << 16  # small, because each step holds the interpreter and other requests wait


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: values from byte `start` to `end` of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass found: whether every value is a finite number, and the largest magnitude (0.0 for an empty or zero tensor)."""

    finite: bool
    largest: float


def header(path: Path) -> tuple[Tensor, ...]:
    """The tensors of a file in the order of their bytes. Raises DataError when it is damaged: truncated, overlapping, with gaps, sizes that do not fit."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(_MOST_HEADER, size - 8):
                raise DataError(f"{path.name} is not a safetensors file, or it is cut off: its header does not fit into {size} bytes")
            body = documents.parse(file.read(length))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read as safetensors: {error}") from error
    if not isinstance(body, dict):
        raise DataError(f"{path.name} has a header that is not a JSON object")
    notes = body.get("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
        raise DataError(f"{path.name} has __metadata__ that is not an object of texts")
    found = sorted((_tensor(path, name, entry, 8 + length) for name, entry in body.items() if name != "__metadata__"), key=lambda t: (t.start, t.end))
    at = 8 + length
    for tensor in found:
        if tensor.start != at:
            raise DataError(f"{path.name}: the bytes of {tensor.name} overlap others or leave a gap")
        at = tensor.end
    if at != size:
        raise DataError(f"{path.name} is cut off or too long: its header describes {at} bytes, the file has {size}")
    return tuple(found)


def scan(path: Path, tensor: Tensor) -> Scan:
    """Look at every value of a float tensor (`READABLE` dtypes). Raises DataError for other dtypes and for a file that shrank meanwhile."""
    if tensor.dtype not in READABLE:
        raise DataError(f"{tensor.name} has the dtype {tensor.dtype}; values can be looked at in {', '.join(READABLE)}")
    largest, left = 0.0, tensor.end - tensor.start
    with path.open("rb") as file:
        file.seek(tensor.start)
        while left:
            raw = file.read(min(_CHUNK, left))
            if not raw or len(raw) % WIDTHS[tensor.dtype]:
                raise DataError(f"{path.name} is cut off in {tensor.name}")
            left -= len(raw)
            values = _floats(raw, tensor.dtype)
            # A sum is finite only if all its terms are; for f64 the sum of finite terms may overflow, so each is looked at then.
            if not math.isfinite(sum(values)) and not all(map(math.isfinite, values)):
                return Scan(finite=False, largest=math.inf)
            high, low = max(values), min(values)
            largest = max(largest, high, -low)
    return Scan(finite=True, largest=largest)


def _floats(raw: bytes, dtype: str) -> array[float]:
    if dtype == "F16":
        return array("f", struct.unpack(f"<{len(raw) // 2}e", raw))
    if dtype == "BF16":  # the upper half of a float32
        wide = bytearray(2 * len(raw))
        wide[2::4], wide[3::4] = raw[0::2], raw[1::2]
        raw = bytes(wide)
    values = array("d" if dtype == "F64" else "f")
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _tensor(path: Path, name: str, entry: Any, offset: int) -> Tensor:
    if not isinstance(entry, Mapping):
        raise DataError(f"{path.name}: the header's entry {name} is not an object")
    dtype, shape, place = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    sizes = shape if isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) else None
    bounds = place if isinstance(place, list) and len(place) == 2 and all(type(n) is int and n >= 0 for n in place) else None
    if sizes is None or bounds is None or not isinstance(dtype, str):
        raise DataError(f"{path.name}: the header's entry {name} lacks dtype, shape or offsets")
    if dtype in WIDTHS and bounds[1] - bounds[0] != math.prod(sizes) * WIDTHS[dtype]:
        raise DataError(f"{path.name}: {name} has {bounds[1] - bounds[0]} bytes, which is not what its shape {sizes} in {dtype} takes")
    return Tensor(name, dtype, tuple(sizes), offset + bounds[0], offset + bounds[1])
