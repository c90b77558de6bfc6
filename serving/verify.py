"""Whether a loaded adapter computes what its trainer recorded: teacher-forced log-probabilities on recorded token ids, pure comparison and its runner.

Public: `read_probes`, `judge`, `judge_foreign`, `verify(client, base, name, path) -> Verdict`.
The tolerance is calibrated on the bare base: however far the served base is from the recorded one is the noise of this server's precision. Adapters made
elsewhere have no record: they must only differ from the base, and are marked unproven.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from router.errors import DataError, Reason, UpstreamRefused
from serving.client import Client

FORMAT = 1
PROBES = "probes.json"
# Factors and floors from a series in bfloat16 on CPU (base: mean 0.0011, max 0.0078 off; a right adapter: mean 0.005, max 0.11 off); float32 is off by 1e-5.
MEAN_FACTOR, MAX_FACTOR = 8.0, 20.0
MEAN_FLOOR, MAX_FLOOR = 0.002, 0.02
# A served base further off than this is another base, whatever the precision.
BASE_MEAN, BASE_MAX = 0.05, 1.0
# The same prompt twice gives exactly the same numbers on CPU; on a GPU batches differ a little.
EFFECT_FLOOR = 1e-4
# Texts for adapters without a record. Any text shows whether weights do something.
TEXTS = (
    "The customer writes: my order 10452 has not arrived and I would like my money back.",
    '{"intent": "refund", "order": "10452", "urgent": false}',
    "def add(a, b):\n    return a + b\n",
    "Sehr geehrte Damen und Herren, ich bitte um Rückmeldung bis Freitag.",
)

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Probes:
    """What the trainer recorded. Row i belongs to `token_ids[i]` and is one shorter: log-probabilities of its tokens from the second on."""

    token_ids: tuple[tuple[int, ...], ...]
    base: tuple[tuple[float, ...], ...]
    adapter: tuple[tuple[float, ...], ...]
    dtype: str = ""

    def cut(self, tokens: int) -> Probes:
        """The same with no probe longer than `tokens`: each number depends on what stands before it only."""
        return Probes(
            tuple(row[:tokens] for row in self.token_ids),
            tuple(row[: tokens - 1] for row in self.base),
            tuple(row[: tokens - 1] for row in self.adapter),
            self.dtype,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """No reasons means verified. `numbers` are what was compared: natural-log units, means and maxima over all probe tokens."""

    reasons: tuple[Reason, ...]
    proof: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """JSON-safe, kept beside the version."""
        return {"proof": self.proof, **{key: round(value, 7) for key, value in self.numbers.items()}}


def read_probes(directory: Path) -> Probes | None:
    """The recorded probes; None where the trainer left none. Raises DataError when the file is damaged."""
    path = directory / PROBES
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["format"] != FORMAT:
            raise DataError(f"{PROBES} has format {body['format']}, this version reads {FORMAT}; publish the adapter again")
        rows = body["probes"]
        found = Probes(
            tuple(tuple(int(t) for t in row["token_ids"]) for row in rows),
            tuple(tuple(float(v) for v in row["base_logprobs"]) for row in rows),
            tuple(tuple(float(v) for v in row["adapter_logprobs"]) for row in rows),
            str(body.get("dtype", "")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{PROBES} cannot be read: {error!r}; publish the adapter again") from error
    fits = all(len(ids) == len(base) + 1 == len(mine) + 1 >= 2 for ids, base, mine in zip(found.token_ids, found.base, found.adapter, strict=True))
    if not found.token_ids or not fits or not all(math.isfinite(v) for row in (*found.base, *found.adapter) for v in row):
        raise DataError(f"{PROBES} holds no probes, or rows that do not belong together; publish the adapter again")
    return found


def judge(recorded: Probes, served_base: Rows, served_adapter: Rows) -> Verdict:
    """Compare what the server computes with what the trainer recorded."""
    noise_mean, noise_max = distance(served_base, recorded.base)
    off_mean, off_max = distance(served_adapter, recorded.adapter)
    effect_mean, effect_max = distance(served_adapter, served_base)
    trained_mean, trained_max = distance(recorded.adapter, recorded.base)
    # An adapter that computes exactly what was recorded has the right base below it, whatever the base answers meanwhile: on CPU vLLM gives a request for
    # the base the weights of whatever adapter is in its last slot, when others share the step.
    exact = off_mean <= MEAN_FLOOR and off_max <= MAX_FLOOR
    # Half of what the training changed: beyond that it is nearer to the base than to the record, however noisy the server.
    most_mean = max(MEAN_FLOOR, min(MEAN_FACTOR * noise_mean, trained_mean / 2))
    most_max = max(MAX_FLOOR, MAX_FACTOR * noise_max)
    numbers = {
        "base_mean": noise_mean,
        "base_max": noise_max,
        "adapter_mean": off_mean,
        "adapter_max": off_max,
        "effect_mean": effect_mean,
        "effect_max": effect_max,
        "tolerance_mean": most_mean,
        "tolerance_max": most_max,
        "tokens": float(sum(len(row) for row in recorded.adapter)),
    }
    reasons = []
    if not exact and (noise_mean > BASE_MEAN or noise_max > BASE_MAX):
        said = f"the served base is off the trainer's by {noise_mean:.3g} on average, {noise_max:.3g} at most"
        reasons.append(Reason("base_differs", said, "serve the base it was trained on, at the precision it was recorded at"))
    elif off_mean > most_mean or off_max > most_max:
        said = f"off the trainer's record by {off_mean:.3g} on average, {off_max:.3g} at most (allowed {most_mean:.3g} and {most_max:.3g})"
        reasons.append(Reason("record_differs", said, "the engine does not compute this adapter as trained; check its version and publish the adapter again"))
    reasons += _effect(max(effect_max, trained_max) if exact else effect_max, 0.0)
    return Verdict(tuple(reasons), "proven", numbers)


def judge_foreign(served_base: Rows, served_again: Rows, served_adapter: Rows) -> Verdict:
    """An adapter without a record must differ from the base by more than the base from itself."""
    noise = distance(served_base, served_again)[1]
    effect_mean, effect_max = distance(served_adapter, served_base)
    numbers = {"noise_max": noise, "effect_mean": effect_mean, "effect_max": effect_max, "tokens": float(sum(len(row) for row in served_base))}
    return Verdict(tuple(_effect(effect_max, noise)), "unproven", numbers)


def distance(left: Rows, right: Rows) -> tuple[float, float]:
    """Mean and maximum absolute difference over all entries. Rows of different lengths are infinitely far apart."""
    gaps = [abs(a - b) for one, other in zip(left, right, strict=True) if len(one) == len(other) for a, b in zip(one, other, strict=True)]
    if not gaps or any(len(one) != len(other) for one, other in zip(left, right, strict=True)):
        return math.inf, math.inf
    return sum(gaps) / len(gaps), max(gaps)


async def verify(client: Client, base: str, name: str, path: Path, context: int | None = None) -> Verdict:
    """Ask the server and judge; probes longer than its `context` are cut. Numbers that are not finite refuse the adapter (the server answers 400 then);
    other failures of the server raise UpstreamError."""
    try:
        recorded = read_probes(path)
    except DataError as error:
        return Verdict((Reason("probes_damaged", error.message, "publish the adapter again"),), "unproven")
    if recorded is not None and context is not None:
        recorded = recorded.cut(context - 1)
    prompts: Sequence[Sequence[int] | str] = recorded.token_ids if recorded is not None else TEXTS
    served_base = [await client.logprobs(base, prompt) for prompt in prompts]
    try:
        served = [await client.logprobs(name, prompt) for prompt in prompts]
    except UpstreamRefused as error:
        if error.status != 400:
            raise
        said = f"the engine cannot compute with it: {error.message}"
        return Verdict((Reason("not_finite", said, "train it again with a lower learning rate"),), "unproven")
    if recorded is not None:
        return judge(recorded, served_base, served)
    return judge_foreign(served_base, [await client.logprobs(base, prompt) for prompt in prompts], served)


def _effect(effect: float, noise: float) -> list[Reason]:
    if effect > max(EFFECT_FLOOR, 2 * noise):
        return []
    return [Reason("no_effect", "it answers exactly as the base does", "train it longer, or serve the base itself")]
