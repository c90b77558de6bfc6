"""The last steps of a batch: what was not sent is said, the journal's files become the client's, the state is final. Each step may be done twice.

The files get their second names first, their rows and the batch's last state are one transaction, and the batch's directory goes last: wherever this is
interrupted, doing it again leads to the same files under the same ids.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.batches import answers
from gateway.batches.journal import Journal
from gateway.batches.lines import Line
from gateway.store import batches, content, files
from gateway.store.batches import Batch
from gateway.store.files import File
from serving.database import reading, writing

if TYPE_CHECKING:
    from gateway.batches.runner import Place


def fail(place: Place, batch: Batch, problems: Sequence[dict[str, Any]]) -> None:
    """The input is wrong: say everything that is. Nothing happens to a batch that is not validating any more."""
    with writing(place.database) as conn:
        failed = batches.move(conn, batch.id, "failed", place.clock(), errors=list(problems))
    if failed:
        shutil.rmtree(place.work(batch.id), ignore_errors=True)


def end(place: Place, batch: Batch, journal: Journal, left: Sequence[Line], refused: Sequence[dict[str, Any]] | None) -> None:
    """Finish a batch whose lines are answered or `left`. `refused` says why the gateway itself cancels it. Blocking."""
    final = _final(place, batch, left, refused)
    code = answers.CANCELLED if final == "cancelled" else answers.EXPIRED
    for line in left:
        journal.give_up(line.custom_id, answers.unanswered(batch.id, line.number, line.custom_id, code))
    journal.flush()
    now = place.clock()
    made = [_file(place, batch, path, kind, now) for path, kind in ((journal.output, "output"), (journal.errors, "error"))]
    with writing(place.database) as conn:
        for file in made:
            if file is not None:
                files.add(conn, file)
        output, errors = (None if file is None else file.id for file in made)
        batches.move(conn, batch.id, final, now, output_file_id=output, error_file_id=errors, completed=journal.answered, failed=journal.failed)
    shutil.rmtree(place.work(batch.id), ignore_errors=True)


def _final(place: Place, batch: Batch, left: Sequence[Line], refused: Sequence[dict[str, Any]] | None) -> str:
    """Take the step before the last, and say which the last is. A cancel that came first wins."""
    now = place.clock()
    with writing(place.database) as conn:
        if refused is not None:
            batches.move(conn, batch.id, "cancelling", now, errors=list(refused))
        # the instant marks the way: should this end here, the batch still becomes `expired`, although by then every line is in a file
        batches.move(conn, batch.id, "finalizing", now, **({"expired_at": now} if left else {}))
    with reading(place.database) as conn:
        found = batches.owned(conn, batch.id, batch.key_id)
    if found.status == "cancelling":
        return "cancelled"
    return "expired" if left or found.expired_at is not None else "completed"


def _file(place: Place, batch: Batch, path: Path, kind: str, now: float) -> File | None:
    """One of the two files, in its place; None when it is empty."""
    size = path.stat().st_size
    if size == 0:
        return None
    identity = files.PREFIX + blake2b(f"{batch.id}/{kind}".encode(), digest_size=12).hexdigest()
    content.adopt(place.data_dir, path, identity)
    return File(identity, batch.key_id, f"{batch.id}_{kind}.jsonl", "batch_output", size, now, now + batch.output_seconds)
