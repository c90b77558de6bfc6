"""The command `breakeven bench`, registered by breakeven.py. What it measures is imported when it runs, so that `--help` stays fast."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from router.errors import BreakevenError


def bench(
    seconds: Annotated[float, typer.Option(help="How long each system is loaded in each part.")] = 5.0,
    clients: Annotated[int, typer.Option(help="Clients of small chats.")] = 32,
    streams: Annotated[int, typer.Option(help="Paced streams at once.")] = 512,
    only: Annotated[str | None, typer.Option(help="Parts, by commas: latency,throughput,streams,memory,start.")] = None,
    litellm: Annotated[str | None, typer.Option(help="A Python that has the LiteLLM proxy, to measure beside.")] = None,
    soak: Annotated[float, typer.Option(help="Seconds of a soak with a memory slope.")] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> int:
    """Added latency, throughput, streams, memory and start of the gateway on this machine against a bare upstream, and nginx where it is installed.

    Exit code 1 when requests failed; a target that is not met is a figure like any other.
    """
    from gateway import terminal
    from gateway.bench import report
    from gateway.bench.options import Options, parts
    from gateway.bench.run import run

    options = Options(os.environ, seconds, clients, streams, parts(only), litellm, soak)
    try:
        document = run(options, terminal.Progress(), datetime.now(UTC))
    except KeyboardInterrupt:
        return terminal.failure(BreakevenError("interrupted; everything it started is stopped"), json, code=130)
    if json:
        terminal.document(document)
    else:
        report.show(document)
    return 1 if document["failed"] else 0
