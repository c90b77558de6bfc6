"""`make demo`: the whole loop on this machine, on real parts, in a few minutes; ends with a summary and exit code 0.

Stages: start provider, gateway and vLLM; traffic (all hosted); dataset from the captured traffic; train; add, load, verify; evaluate on a separate
gold suite; gate; promote under traffic; more traffic; the books. Everything happens through the product's own commands and HTTP API.
Not here: what tickets say (tickets.py), customers (traffic.py), processes and ports (stage.py), the summary's arithmetic and layout (summary.py).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.demo import summary, tickets
from deploy.demo.stage import Stage, StageError
from deploy.demo.traffic import Tally, send

BEFORE, AFTER, SUITE = 2200, 400, 400
# What the demo claims is about these; the other rungs of the ladder are for a route of your own.
RUNGS = "fine_tuned,zero_shot_base,zero_shot_hosted"
SEEDS = {"before": 11, "after": 23, "suite": 37}
# The first half has a hosted provider to itself; in the second the clients share two cores with an engine.
CLIENTS_BEFORE, CLIENTS_AFTER = 24, 6
RECIPE = """\
name: support-triage
base: {base}
data: dataset
quantization: {quantization}
lora: {{r: 16, alpha: 32, dropout: 0.0, target_modules: all-linear, rslora: false}}
train: {{epochs: 4, batch_size: 8, gradient_accumulation: 1, learning_rate: 0.003, max_length: 512, packing: false, seed: 7}}
output: adapters/support-triage
"""


def arguments() -> argparse.Namespace:
    """The demo's flags."""
    parser = argparse.ArgumentParser(description="Run the whole loop on this machine.")
    parser.add_argument("--keep", action="store_true", help="leave gateway, engine and provider running; Ctrl-C stops them")
    parser.add_argument("--dir", type=Path, default=Path("demo-run"), help="work directory, emptied first (default demo-run)")
    parser.add_argument("--quantization", choices=("none", "nf4"), default="none", help="nf4 trains on a base really quantised to four bits (QLoRA)")
    return parser.parse_args()


def material() -> dict[str, list[tickets.Ticket]]:
    """Three sets of tickets that share no text: traffic before, traffic after, the gold suite."""
    drawn: dict[str, list[tickets.Ticket]] = {}
    taken: set[str] = set()
    for name, count in (("suite", SUITE), ("before", BEFORE), ("after", AFTER)):
        fresh = [t for t in tickets.generate(count * 2, SEEDS[name]) if t.text not in taken][:count]
        taken |= {t.text for t in fresh}
        drawn[name] = fresh
    return drawn


def traffic(stage: Stage, batch: list[tickets.Ticket], label: str, clients: int) -> Tally:
    """Send a batch while a progress line moves."""
    tally = Tally()

    async def go() -> None:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send(stage.url, stage.key, batch, clients, tally))
            while not sending.done():
                await asyncio.sleep(0.5)
                stage.progress(f"{label}: {tally.sent}/{len(batch)} sent, {tally.local} local, {tally.failed} failed, p50 {tally.percentile(0.5):.0f} ms")

    asyncio.run(go())
    return tally


def promote_under_traffic(stage: Stage, batch: list[tickets.Ticket]) -> Tally:
    """Promote the adapter while customers keep asking."""
    tally = Tally()

    async def go() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(send(stage.url, stage.key, batch, CLIENTS_AFTER, tally))
            await asyncio.sleep(1.0)
            await asyncio.to_thread(stage.breakeven, "adapters", "promote", "support-triage", "--version", "1", "--reason", "gate passed in the demo")

    asyncio.run(go())
    return tally


def loop(stage: Stage, quantization: str) -> dict[str, object]:
    """Everything between "started" and "summary"."""
    drawn = material()
    stage.start(drawn)
    stage.say("traffic, first half: every request goes to the hosted model, there is no adapter yet")
    before = traffic(stage, drawn["before"], "first half", CLIENTS_BEFORE)
    boundary = time.time()
    stage.say("dataset from the captured traffic")
    stage.breakeven("dataset", "build", "--route", "support-triage", "--out", "dataset")
    stage.say("training the adapter")
    stage.write("recipe.yaml", RECIPE.format(base=stage.base, quantization=quantization))
    stage.breakeven("train", "recipe.yaml", live=True)
    stage.say("adding version 1: admission check, immutable copy, load on the replica, verification; not routed yet")
    stage.breakeven("adapters", "add", "adapters/support-triage", "--name", "support-triage")
    stage.wait_for_engine()
    stage.breakeven("adapters", "load", "support-triage", "--version", "1")
    stage.say(f"evaluating hosted, bare base and adapter on {SUITE} gold items; gate")
    stage.breakeven("eval", "support-triage", "--adapter", "support-triage@1", "--only", RUNGS, live=True)
    stage.say("promoting under traffic")
    switch = promote_under_traffic(stage, drawn["after"][:100])
    stage.say("traffic, second half")
    after = traffic(stage, drawn["after"][100:], "second half", CLIENTS_AFTER)
    stage.say("closing the books of the last minute")
    return summary.collect(stage, (before, switch, after), boundary)


def main() -> int:
    """Run the demo; 0 when every stage worked, 1 with the reason otherwise, 130 when interrupted."""
    options = arguments()
    started = time.monotonic()
    with Stage(options.dir) as stage:
        try:
            document = loop(stage, options.quantization)
        except StageError as error:
            stage.say(f"failed: {error}")
            return 1
        except KeyboardInterrupt:
            stage.say("interrupted; everything is being stopped")
            return 130
        summary.show(document, time.monotonic() - started)
        if options.keep:
            stage.say(f"left running: {document['dashboard']}  (Ctrl-C stops it)")
            stage.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
