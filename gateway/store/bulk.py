"""Insert many rows at once. The ledger's hot path into the database.

The statement is plain SQL that both databases understand and the driver takes tuples: twice as fast as binding dictionaries column by column. Postgres
takes rows that nobody has seen before by COPY, which costs it a fraction of an INSERT for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

# One IN list: far below SQLite's 32,766 parameters of one statement and Postgres' 65,535.
IN_LIST = 500
# Below this many rows COPY is not worth its two round trips.
_COPY_ROWS = 16
Rows = Sequence[tuple[Any, ...]]
Writer = Callable[[Connection, Table, Rows], None]


def insert_new(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert `rows`, tuples in the table's column order with JSON already as text; a row whose primary key exists is left as it is."""
    if rows:
        conn.exec_driver_sql(_statement(conn, table), list(rows))


def insert_fresh(conn: Connection, table: Table, rows: Rows) -> None:
    """The same for rows that are new, quicker; raises IntegrityError when one of them is there."""
    if conn.dialect.name != "postgresql" or len(rows) < _COPY_ROWS:
        if rows:
            conn.exec_driver_sql(_statement(conn, table, ""), list(rows))
        return
    driver: Any = conn.connection.driver_connection
    dbapi: Any = conn.dialect.loaded_dbapi
    statement = f"COPY {_named(conn, table)} FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except dbapi.Error as error:
        raise DBAPIError.instance(statement, None, error, dbapi.Error, dialect=conn.dialect) from error


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """`values` in pieces small enough for one IN list."""
    for start in range(0, len(values), IN_LIST):
        yield values[start : start + IN_LIST]


def _named(conn: Connection, table: Table) -> str:
    quote = conn.dialect.identifier_preparer.quote
    return f"{quote(table.name)} ({', '.join(quote(column.name) for column in table.columns)})"


def _statement(conn: Connection, table: Table, conflict: str = " ON CONFLICT DO NOTHING") -> str:
    marks = ", ".join("?" if conn.dialect.paramstyle == "qmark" else "%s" for _ in table.columns)
    return f"INSERT INTO {_named(conn, table)} VALUES ({marks}){conflict}"  # noqa: S608 - names are the tables', values are bound
