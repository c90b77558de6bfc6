"""The command `breakeven calibrate`: measures an engine, keeps its curve, says what a million tokens cost there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands.frame import ConfigPath, Json, configuration, database, show
from router.errors import ConfigError, StateError

if TYPE_CHECKING:
    from gateway.config.models import Config
    from router.utilisation import Point
    from serving.calibrate import Plan
    from serving.views import ReplicaView


def calibrate(
    engine: str,
    batches: Annotated[str, typer.Option(help="Batch sizes, by comma.")] = "1,2,4,8,16,32",
    seconds: Annotated[float, typer.Option(help="About so long for each batch size.")] = 10.0,
    prompt_tokens: Annotated[int | None, typer.Option(help="Length of the prompts (default: 512, or half the context where that is less).")] = None,
    mix: Annotated[str | None, typer.Option(help="IN:OUT tokens to price, such as 4:1 (default: what the ledger saw of this engine, else 4:1).")] = None,
    replica: Annotated[int | None, typer.Option(help="Which replica (default: the first that is ready).")] = None,
    hardware: Annotated[str | None, typer.Option(help="What it runs on (default: this machine's accelerator, for an engine that runs here).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure although others use the engine.")] = False,
    config: ConfigPath = None,
    json: Json = False,
) -> int:
    """Measure an engine's prefill and decode tokens/s at several batch sizes, and from which utilisation it is cheaper than each hosted model.

    Ctrl-C keeps what is measured by then.
    """
    from gateway import calibration, terminal_calibration
    from gateway.store import curves
    from serving.database import writing

    found = configuration(config)
    priced = calibration.parsed_mix(mix) if mix is not None else None
    with database(found) as store:
        with store.connect() as conn:
            where = calibration.target(conn, found, engine, replica)
        plan = _plan(batches, seconds, prompt_tokens, where)
        measured = _Measured(found, where, hardware)
        try:
            asyncio.run(_measure(measured, plan, force))
        except KeyboardInterrupt:
            if not measured.points:
                raise
        finally:
            now = time.time()
            complete = len(measured.points) == len(plan.batches)
            if measured.points:
                with writing(store) as conn:
                    curves.keep(conn, measured.curve(plan, now, complete=complete))
        with store.connect() as conn:
            mixed = (priced, "given") if priced is not None else calibration.mix_of(conn, engine, now)
    show(calibration.document(found, engine, measured.curve(plan, now, complete=complete), mixed, now), json, terminal_calibration.calibrated)
    return 0 if complete else 130


class _Measured:
    """What came out so far, and of what."""

    def __init__(self, config: Config, where: ReplicaView, hardware: str | None) -> None:
        self.config, self.where = config, where
        self.hardware = hardware
        self.version: str | None = None
        self.points: list[Point] = []

    def curve(self, plan: Plan, now: float, *, complete: bool) -> Any:
        """As it is kept."""
        from gateway import calibration
        from gateway.store.curves import Curve

        section, where = self.config.engines[self.where.engine], self.where
        return Curve(
            engine=where.engine,
            measured_at=now,
            replica=where.index,
            model=section.model or where.model,
            dtype=calibration.dtype(self.config, where.engine),
            hardware=self.hardware,
            vllm_version=self.version,
            prompt_tokens=plan.prompt_tokens,
            complete=complete,
            points=tuple(self.points),
        )


async def _measure(measured: _Measured, plan: Plan, force: bool) -> None:
    """Ask the replica. Raises StateError when it is busy and `force` is not given."""
    from gateway import terminal
    from serving import calibrate as measuring
    from serving.client import Client
    from serving.host import hardware

    section = measured.config.engines[measured.where.engine]
    client = Client(measured.where.url, None if section.api_key is None else section.api_key.get_secret_value())
    try:
        why = await measuring.busy(client)
        if why is not None and not force:
            raise StateError(f"{measured.where.engine}/{measured.where.index} is in use: {why}; calibrate it when it is idle, or add --force")
        if measured.hardware is None and section.managed:
            measured.hardware = await asyncio.to_thread(hardware)
        measured.version = await client.version()
        bench = await measuring.prepared(client, measured.where.model, plan.seed, asyncio.get_running_loop().time)
        await measuring.calibrate(bench, plan, measured.points.append, terminal.Progress())
    finally:
        await client.aclose()


def _plan(batches: str, seconds: float, prompt_tokens: int | None, where: ReplicaView) -> Plan:
    from serving.calibrate import MOST_TOKENS, PROMPT_TOKENS, SHORT, Plan

    try:
        sizes = tuple(sorted({int(size) for size in batches.split(",")}))
    except ValueError:
        sizes = (0,)
    if sizes[0] < 1:
        raise ConfigError(f"--batches {batches!r} is not a list of batch sizes; write 1,2,4,8")
    if seconds <= 0.0:
        raise ConfigError("--seconds must be more than 0")
    room = where.max_model_len or 2 * PROMPT_TOKENS
    length = prompt_tokens if prompt_tokens is not None else min(PROMPT_TOKENS, room // 2)
    if not 1 <= length < room:
        raise ConfigError(f"--prompt-tokens must be between 1 and {room - 1}: the engine's context is {room} tokens")
    return Plan(sizes, seconds, length, max(min(MOST_TOKENS, room - SHORT), 1), time.time_ns())
