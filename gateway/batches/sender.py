"""The controller's end of the lane: one line of a batch, sent to whichever worker takes it. Not here: what to make of the answer (runner.py)."""

from __future__ import annotations

from pathlib import Path

from gateway.batches import door
from gateway.batches.frames import Asked, Said, read_said, send_asked
from router.errors import UpstreamError

AWAY = "workers_away"
LOST = "worker_lost"


async def ask(data_dir: Path, asked: Asked) -> Said:
    """The answer. UpstreamError with code AWAY when no worker listens (nothing was sent), LOST when one ended before it answered."""
    try:
        reader, writer = await door.connect(data_dir)
    except OSError as error:
        raise UpstreamError("no worker takes lines of batches", code=AWAY) from error
    try:
        await send_asked(writer, asked)
        return await read_said(reader)
    except (OSError, EOFError, ValueError) as error:
        raise UpstreamError("the worker that had a line ended before it answered", code=LOST) from error
    finally:
        writer.close()
