"""The load of the benchmark, a process of its own: closed loops of clients, each of which asks again as soon as it has its whole answer.

`python -m gateway.bench.load FILE` reads jobs from stdin, one JSON list a line, runs the jobs of a list side by side, writes their results to FILE as a
JSON list, and then an empty line to stdout. What a connection does is caller.py's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from gateway.bench.caller import Caller, Job, Tally

_RETRY_S = 0.1


def main(file: Path) -> None:
    """Serve jobs until stdin ends."""
    # Results are long and go through a file: in a pipe, the end of such a line was seen to get lost on a busy machine, and the reader to wait for ever.
    gc.disable()  # a collection in the middle of a job would be measured as the gateway's
    for line in sys.stdin:
        results = uvloop.run(_together([Job(**each) for each in json.loads(line)]))
        file.write_text(json.dumps(results))
        sys.stdout.write("\n")
        sys.stdout.flush()
        gc.collect()


async def _together(jobs: list[Job]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*map(run, jobs)))


async def run(job: Job) -> dict[str, Any]:
    """Run one job to its end; the fields of `Figures`. What has no whole answer `grace_s` after time is up counts as `unfinished`."""
    began = time.perf_counter()
    tally = Tally(began + job.seconds)
    clients = [asyncio.create_task(_client(job, tally, index)) for index in range(job.clients)]
    _, late = await asyncio.wait(clients, timeout=job.seconds + job.stagger_s + job.grace_s)
    elapsed_s = time.perf_counter() - began
    if late:
        tally.failed["unfinished"] += len(late)
    figures = tally.figures(elapsed_s)  # before those are cut off, which would count them twice
    for task in late:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return asdict(figures)


async def _client(job: Job, tally: Tally, index: int) -> None:
    """One client for the whole job, with a new connection whenever the old one is gone."""
    if job.stagger_s:
        await asyncio.sleep(job.stagger_s * index / job.clients)
    loop = asyncio.get_running_loop()
    first = True
    while first or time.perf_counter() < tally.ends:
        first = False
        over: asyncio.Future[None] = loop.create_future()
        try:
            transport, _ = await loop.create_connection(lambda over=over: Caller(job, tally, over), job.host, job.port)  # type: ignore[misc]
        except OSError:
            tally.failed["connect"] += 1
            await asyncio.sleep(_RETRY_S)
            continue
        try:
            await over
        finally:
            transport.abort()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
