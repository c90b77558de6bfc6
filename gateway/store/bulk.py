"""Insert many rows at once, leaving alone those that are there. The ledger's hot path into the database.

The statement is plain SQL that both databases understand and the driver takes tuples: twice as fast as binding dictionaries column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table

# One IN list: far below SQLite's 32,766 parameters of one statement and Postgres' 65,535.
IN_LIST = 500


def insert_new(conn: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert `rows`, tuples in the table's column order with JSON already as text; a row whose primary key exists is left as it is."""
    if rows:
        conn.exec_driver_sql(_statement(conn, table), list(rows))


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """`values` in pieces small enough for one IN list."""
    for start in range(0, len(values), IN_LIST):
        yield values[start : start + IN_LIST]


def _statement(conn: Connection, table: Table) -> str:
    quote = conn.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in table.columns)
    marks = ", ".join("?" if conn.dialect.paramstyle == "qmark" else "%s" for _ in table.columns)
    return f"INSERT INTO {quote(table.name)} ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - names are the tables', values are bound
