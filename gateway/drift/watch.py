"""One adapter version on one route, watched: what comes in, what goes out, what pairs say. Values in, levels and a report out; no I/O, no clock.

`Watch.incoming` and `Watch.outgoing` take samples, `Watch.pair` a comparison with the hosted model. Each ends in a look once a block is whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.drift import features
from gateway.drift.features import COMES_IN, EVENTS, GOES_OUT, INPUT, OUTPUT, PACE, SAMPLE
from gateway.drift.sketch import RATES
from gateway.drift.track import Track, fresh, of_body, to_body
from router import alarm
from router.divergence import Difference, upper_rate
from router.drift import BLOCK, LEVELS, PAIRS, STRANDS, Budget, Finding, Level, Standing, Strand, budget, fires, is_near, overall, risen, step

# How sure the highest usual rate is: it is looked up again while the baseline grows, so each time may be wrong with this chance.
_RATE_SURPRISE = 13.8
# Pairs that say what is usual before any is judged, and how many say it in the end.
LEAST_PAIRS = 48
FULL_PAIRS = 256
HELD_PAIRS = 64
# Blocks over which the newest rate is shown; the detector looks at single answers.
RATE_BLOCKS = 2
# Latency and cost follow the load; only a change of this share of requests is worth a word.
LEAST_PACE = 0.25
_ALL = len(INPUT) + len(OUTPUT) + len(PACE)
_EVENTS = GOES_OUT.place(EVENTS[0].name)
_CHANCES = GOES_OUT.place(EVENTS[1].name)
_HAPPENED, _COULD = SAMPLE.index("events"), SAMPLE.index("chances")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says: at most `false_alarms` per million requests; less than `min_change` of the requests being different does not matter; for
    the first `learn_s` seconds what comes in is learnt whatever it is, and only told about: a day has its rhythm."""

    false_alarms: float = 0.01
    min_change: float = 0.1
    learn_s: float = 3 * 86_400.0

    @property
    def budget(self) -> Budget:
        """How surprising each single comparison must be."""
        return budget(self.false_alarms, _ALL, len(RATES) + 1)


@dataclass(slots=True)
class Rate:
    """A rate that must not rise: events and how many there could have been while it was learnt, the highest rate that is nothing new, the detector's wealth,
    and how many it has seen."""

    events: int = 0
    n: int = 0
    wealth: alarm.Wealth = alarm.NOTHING
    seen: int = 0
    usual: float = 1.0

    def learn(self, events: int, n: int) -> None:
        """This is what is usual."""
        if (events, n) != (self.events, self.n):
            self.events, self.n, self.usual = events, n, upper_rate(events, n, _RATE_SURPRISE)

    def observe(self, event: bool, limit: float) -> None:
        """One more."""
        self.seen += 1
        self.wealth = alarm.observe(self.wealth, event, self.usual, limit)


@dataclass(slots=True)
class Watch:
    """`standings` by strand; `shown` is what the last look of each strand found, feature by feature, as GET /admin/drift shows it, `why` what the
    last look that found something did, `paired_until` the time of the last comparison that was counted, `waiting` comparisons that are not
    learnt from yet."""

    rules: Rules
    inputs: Track = field(default_factory=lambda: fresh(COMES_IN))
    outputs: Track = field(default_factory=lambda: fresh(GOES_OUT))
    pairs: Rate = field(default_factory=Rate)
    rates: dict[str, Rate] = field(default_factory=lambda: {name: Rate() for name in RATES})
    standings: dict[Strand, Standing] = field(default_factory=lambda: {strand: Standing() for strand in STRANDS})
    shown: dict[Strand, list[dict[str, Any]]] = field(default_factory=dict)
    why: dict[Strand, list[dict[str, Any]]] = field(default_factory=dict)
    samples: int = 0
    paired_until: float = 0.0
    waiting: list[bool] = field(default_factory=list)

    @property
    def firing(self) -> list[dict[str, Any]]:
        """What the newest looks found that led to the levels which are in force."""
        return [each for strand in STRANDS for each in self.why.get(strand, ())]

    @property
    def level(self) -> Level:
        """Where the version is."""
        return overall(self.standings)

    def incoming(self, sample: Sequence[Any], time: float) -> bool:
        """A request came in on the route, whoever answered it; whether that was looked at."""
        self.samples += 1
        if not self.inputs.add(sample, time):
            return False
        if self.inputs.ready:
            found = self.inputs.differences(range(len(INPUT)), self.rules.budget.look)
            self._look("input", found, [], self.inputs)
        is_learning = self.inputs.age_s < self.rules.learn_s
        if is_learning and risen("notify", self.standings["input"].level):
            self.standings["input"] = Standing("notify")
        self.inputs.learn(is_learning or self._is_quiet("input"))
        return True

    def outgoing(self, sample: Sequence[Any], time: float) -> bool:
        """The version answered a request; whether that was looked at."""
        self._observe(sample)
        if not self.outputs.add(sample, time):
            return False
        if self.outputs.ready:
            surprise = self.rules.budget.look
            found = self.outputs.differences(range(len(OUTPUT)), surprise)
            self._look("output", found, [(name, self.rates[name]) for name in RATES], self.outputs)
            self._look("pace", self.outputs.differences(range(len(OUTPUT), len(OUTPUT) + len(PACE)), surprise), [], self.outputs)
        self.outputs.learn(self._is_quiet("output") and self._is_quiet("pace"))
        self._usual()
        return True

    def pair(self, disagreed: bool) -> bool:
        """The version's answer was compared with the hosted model's; whether that was looked at."""
        rate = self.pairs
        if rate.n < LEAST_PAIRS:
            rate.seen += 1
        else:
            rate.observe(disagreed, alarm.threshold(self.rules.budget.rate))
        # Whether one is learnt from must not depend on what it says, or what is usual would look better than it is; so all wait the same while.
        self.waiting.append(disagreed)
        while self.waiting and (rate.n < LEAST_PAIRS or len(self.waiting) > HELD_PAIRS):
            late = self.waiting.pop(0)
            if rate.n < LEAST_PAIRS or (rate.n < FULL_PAIRS and self._is_quiet("pairs")):
                rate.learn(rate.events + late, rate.n + 1)
        if rate.seen % PAIRS or rate.n < LEAST_PAIRS:
            return False
        self._look("pairs", [], [("disagreement", rate)], self.inputs)
        return True

    def report(self) -> dict[str, Any]:
        """What GET /admin/drift shows: each feature's last look, and how far the baselines are."""
        shown = [each for strand in STRANDS for each in self.shown.get(strand, ())]
        return {
            "features": shown,
            "strands": {strand: {"level": s.level, "streak": s.streak, "calm": s.calm} for strand, s in self.standings.items()},
            "baseline": {"input": self.inputs.baseline.n, "output": self.outputs.baseline.n, "pairs": self.pairs.n},
            "ready": {"input": self.inputs.ready, "output": self.outputs.ready, "pairs": self.pairs.n >= LEAST_PAIRS},
        }

    def memory(self) -> dict[str, Any]:
        """What a process that goes on needs beside the tracks, JSON-safe."""
        return {
            "why": self.why,
            "paired_until": self.paired_until,
            "waiting": list(map(int, self.waiting)),
            "standings": {strand: [s.level, s.streak, s.calm] for strand, s in self.standings.items()},
            "rates": {name: [r.events, r.n, list(r.wealth), r.seen] for name, r in {**self.rates, "disagreement": self.pairs}.items()},
        }

    def _observe(self, sample: Sequence[Any]) -> None:
        happened, could = sample[_HAPPENED], sample[_COULD]
        if could is None or not self.outputs.ready:
            return
        limit = alarm.threshold(self.rules.budget.rate)
        for place, name in enumerate(RATES):
            if could >> place & 1:
                self.rates[name].observe(bool(happened >> place & 1), limit)

    def _usual(self) -> None:
        """What the baseline says of the rates."""
        counts = self.outputs.baseline.counts
        for place, (events, chances) in enumerate(zip(GOES_OUT.part(counts, _EVENTS), GOES_OUT.part(counts, _CHANCES), strict=True)):
            self.rates[RATES[place]].learn(int(events), int(chances))

    def _is_quiet(self, strand: Strand) -> bool:
        standing = self.standings[strand]
        return standing.level == "none" and not any(each["firing"] or each["near"] for each in self.shown.get(strand, ()))

    def _look(self, strand: Strand, found: Sequence[tuple[Difference, int]], rates: Sequence[tuple[str, Rate]], track: Track) -> None:
        least = max(self.rules.min_change, LEAST_PACE) if strand == "pace" else self.rules.min_change
        limit = alarm.threshold(self.rules.budget.rate)
        worst: dict[str, tuple[Difference, int]] = {}
        for difference, span in found:
            before = worst.get(difference.feature)
            if before is None or _weight(difference, least) > _weight(before[0], least):
                worst[difference.feature] = (difference, span)
        findings = [Finding(difference.value, difference.threshold, difference.changed) for difference, _ in worst.values()]
        findings += [Finding(alarm.evidence(rate.wealth), limit) for _, rate in rates]
        self.standings[strand] = step(self.standings[strand], findings, least, strand)
        shown = [_shown(strand, difference, span, track, least) for difference, span in worst.values()]
        shown += [_shown_rate(strand, name, rate, limit, _newest(track, name)) for name, rate in rates]
        self.shown[strand] = shown
        if found_now := [each for each in shown if each["firing"]]:
            self.why[strand] = found_now
        elif self.standings[strand].level == "none":
            self.why.pop(strand, None)


def restored(rules: Rules, memory: Mapping[str, Any], bodies: Mapping[str, Any], hours: Mapping[str, Mapping[int, Any]], shown: Sequence[Any]) -> Watch:
    """A watch as it was kept: `memory` and the report's features, `bodies` and `hours` of its tracks under `input` and `output`."""
    watch = Watch(rules)
    if "input" in bodies:
        watch.inputs = of_body(COMES_IN, bodies["input"], hours.get("input", {}))
    if "output" in bodies:
        watch.outputs = of_body(GOES_OUT, bodies["output"], hours.get("output", {}))
    watch.paired_until = memory.get("paired_until", 0.0)
    watch.waiting = list(map(bool, memory.get("waiting", ())))
    for strand in STRANDS:
        level, streak, calm = memory.get("standings", {}).get(strand, ("none", 0, 0))
        watch.standings[strand] = Standing(level if level in LEVELS else "none", streak, calm)
        watch.shown[strand] = [dict(each) for each in shown if each.get("strand") == strand]
        if strand in memory.get("why", {}):
            watch.why[strand] = [dict(each) for each in memory["why"][strand]]
    for name, (events, n, wealth, seen) in memory.get("rates", {}).items():
        rate = Rate(events, n, tuple(wealth), seen, upper_rate(events, n, _RATE_SURPRISE))
        if name == "disagreement":
            watch.pairs = rate
        elif name in watch.rates:
            watch.rates[name] = rate
    return watch


def kept(track: Track) -> dict[str, Any]:
    """A track as it is kept."""
    return to_body(track)


def sentence(shown: Mapping[str, Any]) -> str:
    """A feature's finding in words."""
    name, strand = shown["feature"], shown["strand"]
    if shown["statistic"] == "e":
        before, now = shown["baseline"].get("rate", 0.0), shown["current"].get("rate")
        usual = f"{name.replace('_', ' ')}: usually {before:.1%} of answers"
        return f"{usual}, clearly more now" if now is None else f"{usual}, {now:.1%} of the newest"
    said = f"{name.replace('_', ' ')}: at least {shown['changed']:.0%} of the last {shown['window']} {'requests' if strand == 'input' else 'answers'} differ"
    return f"{said} ({_told(shown['baseline'])} -> {_told(shown['current'])})"


def _told(summary: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:g}" if key in {"p50", "p95"} else f"{key} {value:.0%}" for key, value in list(summary.items())[:3]) or "-"


def _weight(difference: Difference, least: float) -> tuple[bool, float]:
    finding = Finding(difference.value, difference.threshold, difference.changed)
    return fires(finding, least), difference.value / difference.threshold


def _shown(strand: Strand, difference: Difference, span: int, track: Track, least: float) -> dict[str, Any]:
    number = track.layout.place(difference.feature)
    feature, blocks = track.layout.features[number], span // BLOCK
    usual = track.usual(blocks)
    finding = Finding(difference.value, difference.threshold, difference.changed)
    known = difference.n > 0 and difference.baseline_n > 0
    return {
        "feature": difference.feature,
        "strand": strand,
        "statistic": difference.statistic,
        "value": round(difference.value, 5),
        "threshold": round(difference.threshold, 5) if known else None,
        "changed": round(difference.changed, 4),
        "psi": None if difference.psi is None else round(difference.psi, 4),
        "n": difference.n,
        "baseline_n": difference.baseline_n,
        "window": span,
        "seasonal": track.is_seasonal(blocks),
        "firing": fires(finding, least),
        "near": is_near(finding, least),
        "baseline": features.summary(feature, track.layout.part(usual[1], number), usual[0], difference.place),
        "current": features.summary(feature, track.layout.part(track.newest(blocks), number), span, difference.place),
    }


def _newest(track: Track, name: str) -> tuple[int, int]:
    """Events and chances of a rate in the newest blocks."""
    span = min(RATE_BLOCKS, len(track.blocks))
    if name not in RATES or not span:
        return 0, 0
    counts, place = track.newest(span), RATES.index(name)
    return int(GOES_OUT.part(counts, _EVENTS)[place]), int(GOES_OUT.part(counts, _CHANCES)[place])


def _shown_rate(strand: Strand, name: str, rate: Rate, limit: float, newest: tuple[int, int]) -> dict[str, Any]:
    events, n = newest
    value = alarm.evidence(rate.wealth)
    finding = Finding(value, limit)
    return {
        "feature": name,
        "strand": strand,
        "statistic": "e",
        "value": round(value, 5),
        "threshold": round(limit, 5),
        "changed": None,
        "psi": None,
        "n": n or rate.seen,
        "baseline_n": rate.n,
        "window": RATE_BLOCKS * BLOCK if n else 0,
        "seasonal": False,
        "firing": fires(finding, 0.0),
        "near": is_near(finding, 0.0),
        "baseline": {"rate": round(rate.events / rate.n, 4)} if rate.n else {},
        "current": {"rate": round(events / n, 4)} if n else {},
    }
