"""A benchmark under way: the stand with what runs on it so far, each system started when a part first needs it, warm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.bench import systems
from gateway.bench.caller import Figures, Job
from gateway.bench.meter import Meter
from gateway.bench.options import Options
from gateway.bench.stand import Load, Stand
from gateway.bench.systems import System

_WARM_S = 1.0
# What is planned for: a gateway ready and warm, and LiteLLM, which takes its time.
START_S, PEERS_S = 3.0, 20.0


@dataclass(slots=True)
class Bench:
    """What the parts of a benchmark share."""

    options: Options
    stand: Stand
    meter: Meter
    load: Load
    upstream: System
    _peers: list[System] | None = None
    _gateway: System | None = None
    failed: dict[str, int] = field(default_factory=dict)
    """Answers of our gateway that were none, by how; a benchmark with any has not measured what it says."""

    def gateway(self) -> System:
        """One worker and its controller on the subject's core, shared by the parts that load it alike."""
        if self._gateway is None:
            self._gateway = self.fresh()
        return self._gateway

    def fresh(self, workers: int = 1) -> System:
        """A gateway of one's own; stop its process when done."""
        self.meter.step("starting breakeven", START_S)
        cores = frozenset({self.stand.cores.subject}) if workers == 1 else self.stand.cores.all
        return self._warmed(systems.gateway(self.stand, self.upstream, cores, workers))

    def peers(self) -> list[System]:
        """nginx and LiteLLM, those that there are."""
        if self._peers is None:
            self._peers = []
            self.meter.step("starting peers", PEERS_S if self.options.litellm else 0.0)
            if (nginx := systems.nginx(self.stand, self.upstream)) is not None:
                self._peers.append(self._warmed(nginx))
            if self.options.litellm is not None:
                self._peers.append(self._warmed(systems.litellm(self.stand, self.upstream, self.options.litellm)))
        return self._peers

    def started(self) -> list[System]:
        """The peers that were needed."""
        return self._peers or []

    def run(self, system: System, *jobs: Job, sample: Callable[[], None] | None = None) -> list[Figures]:
        """Load a system and wait until what it has to book is booked."""
        before = system.booked()
        found = self.load.run(*jobs, sample=sample)
        system.settle(before + sum(each.done for each in found))
        if system.name == systems.GATEWAY:
            for each in found:
                for how, count in each.failed.items():
                    self.failed[how] = self.failed.get(how, 0) + count
        return found

    def _warmed(self, system: System) -> System:
        self.run(system, system.job(self.options.clients, min(_WARM_S, self.options.seconds / 2)))
        return system
