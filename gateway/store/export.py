"""The ledger's rows as files: CSV, or Parquet where pyarrow is installed. One file of exchanges, one of their attempts. Reads only.

Rows are read a page at a time, each page in a transaction of its own, so memory does not grow with the period and no writer waits. Columns are those of the
tables: money in nano-dollars, instants in epoch seconds, tags as JSON; an unknown value is empty. A row that is changed meanwhile is there once, old or new.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson
from sqlalchemy import JSON, BigInteger, Boolean, Double, Engine, Integer, Row, Table, select, tuple_

from gateway.store import bulk
from gateway.store.period import Period
from gateway.store.tables import attempts, exchanges
from router.errors import ConfigError
from serving.database import reading

Format = Literal["csv", "parquet"]
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Written:
    """What was written where."""

    exchanges: int
    attempts: int
    exchanges_file: Path
    attempts_file: Path


class _File(Protocol):
    def write(self, rows: Sequence[Sequence[Any]]) -> None: ...
    def close(self) -> None: ...


def export(engine: Engine, period: Period, kind: Format, out: Path) -> Written:
    """Write the exchanges of a period to `out`, oldest first, and their attempts to `<name>.attempts<suffix>` beside it.

    Raises ConfigError when `out` cannot be written or Parquet is asked for without pyarrow; files that were there are replaced.
    """
    make = _parquet if kind == "parquet" else _Csv
    beside = out.with_name(f"{out.stem}.attempts{out.suffix}")
    count = calls = 0
    try:
        with ExitStack() as stack:
            files = [make(path, table) for path, table in ((out, exchanges), (beside, attempts))]
            for file in files:
                stack.callback(file.close)
            for rows, parts in _pages(engine, period):
                files[0].write(rows)
                files[1].write(parts)
                count, calls = count + len(rows), calls + len(parts)
    except OSError as error:
        raise ConfigError(f"{error.filename or out} cannot be written: {error.strerror or error}") from error
    return Written(count, calls, out, beside)


def cell(value: Any) -> Any:
    """A value as a CSV cell. Text that a spreadsheet would take for a formula gets a leading apostrophe."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} and not _is_number(value):
        return f"'{value}"
    return value


def _pages(engine: Engine, period: Period) -> Iterator[tuple[list[Row[Any]], list[Row[Any]]]]:
    e, after = exchanges.c, None
    while True:
        query = select(exchanges).where(*period.times(e.time)).order_by(e.time, e.id).limit(PAGE)
        if after is not None:
            query = query.where(tuple_(e.time, e.id) > tuple_(*after))
        with reading(engine) as conn:
            rows = list(conn.execute(query))
            parts: list[Row[Any]] = []
            for some in bulk.chunks([row.id for row in rows]):
                calls = select(attempts).where(attempts.c.exchange_id.in_(some)).order_by(attempts.c.exchange_id, attempts.c.position)
                parts += conn.execute(calls)
        if not rows:
            return
        yield rows, parts
        after = (rows[-1].time, rows[-1].id)


class _Csv:
    def __init__(self, path: Path, table: Table) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow([column.name for column in table.columns])
        self._json = [place for place, column in enumerate(table.columns) if isinstance(column.type, JSON)]

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            self._writer.writerow([cell(value) for value in _texts(row, self._json)])

    def close(self) -> None:
        self._file.close()


def _parquet(path: Path, table: Table) -> _File:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'breakeven[parquet]', or take --format csv") from error
    kinds: Mapping[type[Any], Callable[[], Any]] = {
        BigInteger: pyarrow.int64,
        Integer: pyarrow.int64,
        Double: pyarrow.float64,
        Boolean: pyarrow.bool_,
    }
    fields = [(column.name, kinds.get(type(column.type), pyarrow.string)()) for column in table.columns]
    schema = pyarrow.schema(fields)
    places = [place for place, column in enumerate(table.columns) if isinstance(column.type, JSON)]
    writer = parquet.ParquetWriter(path, schema, compression="zstd")

    class File:
        def write(self, rows: Sequence[Sequence[Any]]) -> None:
            if rows:
                columns = zip(*(_texts(row, places) for row in rows), strict=True)
                writer.write_table(pyarrow.table([pyarrow.array(values, kind) for values, (_, kind) in zip(columns, fields, strict=True)], schema=schema))

        def close(self) -> None:
            writer.close()

    return File()


def _texts(row: Sequence[Any], places: Sequence[int]) -> list[Any]:
    values = list(row)
    for place in places:
        values[place] = orjson.dumps(values[place]).decode()
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
