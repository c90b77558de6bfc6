"""What people see of a calibrated engine: its curve, what a million tokens cost at each utilisation, and which hosted models it beats from where on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.terminal import line, note, rows

_SHOWN = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def calibrated(found: Mapping[str, Any]) -> None:
    """The whole document of gateway/calibration.py, for an engine that has a curve."""
    curve = found["curve"]
    at = curve["saturation"]
    labels = [curve["hardware"], curve["dtype"], curve["vllm_version"] and f"vLLM {curve['vllm_version']}"]
    line(f"{found['engine']}: {curve['model']} ({', '.join(filter(None, labels)) or 'no labels'}), prompts of {curve['prompt_tokens']} tokens")
    rows(curve["points"], ("batch", "prefill_tokens_per_s", "decode_tokens_per_s", "disturbed"))
    line(f"saturated at batch {at['batch']}: {at['decode_tokens_per_s']:,.0f} generated or {at['prefill_tokens_per_s']:,.0f} prompt tokens/s")
    line(f"one generated token costs as much as {curve['decode_weight']:.2f} prompt tokens")
    if not curve["complete"]:
        note("interrupted: what was measured by then is kept, and does not count in the books")
    if any(point["disturbed"] for point in curve["points"]):
        note("somebody else used the engine meanwhile: the disturbed rows are too low")
    if found["gpu_hour_usd"] is None:
        line(f"engines.{found['engine']}.gpu_hour_usd is not set, so nobody can say what a token costs")
        return
    mix = found["mix"]
    line(f"\na million tokens, {mix['prompt']:.0%} of them prompt ({_source(mix['source'])}), at {found['gpu_hour_usd']} dollars an hour and replica:")
    shown = [step for step in found["cost_by_utilisation"] if step["utilisation"] in _SHOWN]
    rows([{"utilisation": f"{step['utilisation']:.0%}", "dollars": _short(step["cost_per_m_usd"])} for step in shown], ("utilisation", "dollars"))
    for one in found["hosted"]:
        line(_sentence(one))


def _sentence(one: Mapping[str, Any]) -> str:
    name = f"{one['provider']}/{one['model']}"
    if one["verdict"] == "price_unknown":
        return f"{name}: its price is unknown"
    costs = f"{name} costs {_short(one['cost_per_m_usd'])}"
    share = one["local_share_at_full_use"]
    if share is None:
        return f"{costs}: local is never cheaper"
    if one["verdict"] == "never":
        return f"{costs}: local is never cheaper, at full use it costs {share:.1f} times as much"
    return f"{costs}: local is cheaper from {_percent(share)} utilisation on, at full use it costs {_percent(share)} of that"


def _source(word: str) -> str:
    return {"ledger": "as in the ledger", "given": "as given", "assumed": "assumed: the engine had no traffic"}[word]


def _percent(share: float) -> str:
    """To three digits, however small."""
    return f"{100 * share:.3g} %"


def _short(usd: str) -> str:
    """Dollars to a thousandth, or to three digits where they are less."""
    amount = float(usd)
    return f"{amount:,.3f}" if amount >= 0.01 else f"{amount:.3g}"
