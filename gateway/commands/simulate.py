"""The command `breakeven simulate`: policies side by side on a recorded trace, on the gateway's own ledger, or on made-up traffic."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.simulation.trace import Trace
    from router.types import Price


def simulate(
    trace: Annotated[Path | None, typer.Argument(help="Azure's CSV (TIMESTAMP,ContextTokens,GeneratedTokens) or Mooncake's JSONL.")] = None,
    synthetic: Annotated[str | None, typer.Option(help="Made-up traffic: a scenario's name, several by commas, or all.")] = None,
    ledger: Annotated[str | None, typer.Option(help="The traffic this gateway had: a route's name, or all.")] = None,
    since: Annotated[str | None, typer.Option(help="Of the ledger: from when on (a date or RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Of the ledger: until when.")] = None,
    scenario: Annotated[str, typer.Option(help="Weather over a trace, by commas, or all.")] = "calm",
    policy: Annotated[list[str] | None, typer.Option(help="Only these beside breakeven and all hosted (repeat).")] = None,
    rate: Annotated[float, typer.Option(help="Requests arrive so many times as fast.")] = 1.0,
    requests: Annotated[int | None, typer.Option(help="Only the first so many of a trace.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs per scenario, each with luck of its own.")] = 1,
    tries: Annotated[int, typer.Option(help="How long the clairvoyant searches; 0 leaves it and the bound out.")] = 60,
    input_usd_per_m: Annotated[str | None, typer.Option(help="The hosted price; with --output-usd-per-m.")] = None,
    output_usd_per_m: str | None = None,
    cached_input_usd_per_m: str | None = None,
    gpu_hour_usd: float | None = None,
    slo_ttft_ms: float | None = None,
    slo_total_ms: float | None = None,
    replicas: Annotated[int | None, typer.Option(help="Engine replicas, where it is not the scenario that says: what one more GPU would do.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures there.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """What policies would have cost, and how many requests they would have kept within their aim, beside what a clairvoyant reaches."""
    from gateway.simulation import report
    from gateway.simulation.run import Wanted, run
    from router.simulation.scenarios import SCENARIOS

    found = _trace(trace, synthetic, ledger, (since, until), config)
    if requests is not None and found is not None:
        found = found.first(requests)
    names = synthetic if found is None and synthetic is not None else scenario
    chosen = tuple(SCENARIOS) if names == "all" else tuple(name.strip() for name in names.split(",") if name.strip())
    above = {"--rate": rate, "--seeds": seeds, "--requests": requests or 1, "--replicas": 1 if replicas is None else replicas}
    for option, value in above.items():
        if not value > 0:
            raise ConfigError(f"{option} must be above 0")
    price = _price(input_usd_per_m, output_usd_per_m, cached_input_usd_per_m)
    wanted = Wanted(found, chosen, tuple(policy or ()), seeds, rate, max(tries, 0), price, slo_ttft_ms, slo_total_ms, gpu_hour_usd, replicas, html is not None)
    document = run(wanted, _progress())
    if html is not None:
        html.write_text(report.page(document), encoding="utf-8")
    show(document, json, report.show)
    if document["interrupted"]:
        raise typer.Exit(130)


def _trace(path: Path | None, synthetic: str | None, ledger: str | None, span: tuple[str | None, str | None], config: Path | None) -> Trace | None:
    from gateway.simulation import traces
    from gateway.store import period
    from serving.database import reading

    if sum(each is not None for each in (path, synthetic, ledger)) != 1:
        raise ConfigError("say what to simulate: a trace file, --synthetic NAME, or --ledger ROUTE (one of them)")
    if path is not None:
        return traces.read(path)
    if ledger is None:
        return None
    with database(configuration(config)) as engine, reading(engine) as conn:
        return traces.ledger(conn, None if ledger == "all" else ledger, period.parse(*span))


def _price(entered: str | None, made: str | None, cached: str | None) -> Price | None:
    from router.money import parse_usd
    from router.types import Price

    if entered is None and made is None and cached is None:
        return None
    if entered is None or made is None:
        raise ConfigError("a price needs --input-usd-per-m and --output-usd-per-m")
    try:
        return Price(parse_usd(entered), parse_usd(made), None if cached is None else parse_usd(cached), "command line")
    except ValueError as error:
        raise ConfigError(f"the price: {error}") from error


def _progress() -> Callable[[int, int], None]:
    """One moving line on stderr where somebody looks."""
    began = time.monotonic()

    def say(done: int, total: int) -> None:
        if sys.stderr.isatty():
            left = (time.monotonic() - began) / done * (total - done)
            sys.stderr.write(f"\rsimulating {done}/{total}, {left:.0f} s left \x1b[K" + ("\n" if done == total else ""))
            sys.stderr.flush()

    return say
