"""Where kept answers are found again: in the database, and until they have got there in this process' memory.

An answer is written to the spool (gateway/store/spool.py), which the controller brings into the database; meanwhile its client may already go on. What another
worker wrote is waited for a little. Reads run in a thread with a deadline of their own: they are content, never needed to admit or route another request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.store import responses
from gateway.store.responses import MOST_TURNS, Stored
from router.errors import LimitError, RequestError
from serving.database import reading

if TYPE_CHECKING:
    from gateway.store.spool import Spool

log = logging.getLogger("breakeven.responses")

# Larger answers, with what was sent for them, are not kept: every follow-up would read all of it.
MOST_BYTES = 16 * 1024 * 1024
# All turns of a conversation together.
_MOST_READ = 64 * 1024 * 1024
# How much waits here for the database. The controller looks ten times a second.
_MOST_HELD = 32 * 1024 * 1024
_READ_S = 5.0
# How long an answer of another worker may be on its way into the database.
_ARRIVES_S = 2.0
_LOOK_S = 0.05
# Threads that read: their own, so that a slow read keeps nothing else from the database.
_READERS = 2


class Memory:
    """One per process."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self._bytes = 0
        self._readers = ThreadPoolExecutor(_READERS, "responses")

    def keep(self, item: Stored, spool: Spool) -> None:
        """Write an answer down; never waits for the database."""
        size = len(orjson.dumps((item.input, item.response)))
        if size > MOST_BYTES:
            log.warning("%s is not kept: it and its input have %d bytes, more than %d", item.id, size, MOST_BYTES)
            return
        spool.keep(item)
        self._held[item.id] = (item, size)
        self._bytes += size
        while self._bytes > _MOST_HELD:
            self._bytes -= self._held.popitem(last=False)[1][1]

    async def conversation(self, database: Engine, response_id: str, key_id: str | None) -> list[Stored] | None:
        """An answer and those before it, oldest first; None when the key has no such answer, or one of its conversation was deleted. LimitError 503 when
        the database does not say, RequestError 400 for more turns than can be read."""
        found: list[Stored] = []
        wanted: str | None = response_id
        while wanted is not None:
            rows = await self._rows(database, wanted)
            if not rows or any(row.deleted or row.key_id != key_id for row in rows):
                return None
            found += rows
            wanted = rows[-1].previous_id
            if wanted is not None and len(found) >= MOST_TURNS:
                raise RequestError(f"The conversation has more than {MOST_TURNS} turns; begin a new one.", param="previous_response_id")
        return found[::-1]

    async def one(self, database: Engine, response_id: str, key_id: str | None) -> Stored | None:
        """One answer; None when the key has no such answer."""
        rows = await self._rows(database, response_id, most=1)
        return rows[0] if rows and rows[0].key_id == key_id and not rows[0].deleted else None

    async def _rows(self, database: Engine, response_id: str, most: int = MOST_TURNS) -> list[Stored]:
        """What is known from an answer back; the database has the last word, because an answer may have been deleted there."""
        loop = asyncio.get_running_loop()
        until, wait_s = loop.time() + _ARRIVES_S, _LOOK_S
        while True:
            rows = await self._read(database, response_id, most)
            if rows:
                self._drop(response_id)
                return rows
            held = self._held.get(response_id)
            if held is not None:
                return [held[0]]
            if loop.time() >= until:
                return []
            await asyncio.sleep(wait_s)
            wait_s *= 1.5

    async def _read(self, database: Engine, response_id: str, most: int) -> list[Stored]:
        def read() -> list[Stored]:
            with reading(database) as conn:
                if responses.size(conn, response_id, most) > _MOST_READ:
                    raise RequestError("The conversation is too long to go on with; begin a new one.", param="previous_response_id")
                return responses.chain(conn, response_id, most)

        try:
            async with asyncio.timeout(_READ_S):
                return await asyncio.get_running_loop().run_in_executor(self._readers, read)
        except (SQLAlchemyError, TimeoutError) as error:
            log.warning("a conversation could not be read: %s", error)
            raise LimitError("The conversation cannot be read right now; try again shortly.", retry_after_s=1.0, status=503, code="overloaded") from error

    def _drop(self, response_id: str) -> None:
        held = self._held.pop(response_id, None)
        if held is not None:
            self._bytes -= held[1]
