"""A calibrated engine as a document: its curve, what a million tokens cost at each utilisation, and from which one on it beats each hosted model.

Here: putting together what is known, and which server to measure. Not here: the arithmetic (router/utilisation.py), the measuring (serving/calibrate.py).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from gateway import price_listing, prices
from gateway.config.models import Config
from gateway.store.curves import Curve
from gateway.store.engine_costs import tokens_of
from gateway.store.period import Period, rfc3339
from router.errors import ConfigError, RequestError, StateError
from router.money import usd
from router.utilisation import STEPS, Mix, Saturation, break_even, cost_per_million, hosted_per_million
from serving import registry
from serving.views import ReplicaView

# What an engine's mix of tokens is looked up in, and what is assumed of one that has no traffic: four prompt tokens to one generated.
MIX_DAYS = 30
USUAL_MIX = Mix(0.8)


def target(conn: Connection, config: Config, engine: str, index: int | None) -> ReplicaView:
    """The replica to measure: the one asked for, or the first that is ready. ConfigError for an unknown engine, StateError when none is ready."""
    if engine not in config.engines:
        raise ConfigError(f"there is no engine {engine!r} in the configuration; it has {', '.join(config.engines) or 'none'}")
    found = [r for r in registry.replicas(conn) if r.engine == engine and (index is None or r.index == index)]
    ready = next((replica for replica in found if replica.state == "ready" and replica.healthy), None)
    if ready is None:
        which = f"replica {index} of engine {engine!r} is not" if index is not None else f"no replica of engine {engine!r} is"
        raise StateError(f"{which} ready; start `breakeven serve` and wait for it (GET /admin/status shows the replicas)")
    return ready


def dtype(config: Config, engine: str) -> str | None:
    """The number format that the engine's `args` name; None: vLLM chooses."""
    args = config.engines[engine].args
    for n, arg in enumerate(args):
        if arg == "--dtype" and n + 1 < len(args):
            return args[n + 1]
        if arg.startswith("--dtype="):
            return arg.removeprefix("--dtype=")
    return None


def mix_of(conn: Connection, engine: str, now: float) -> tuple[Mix, str]:
    """The mix of tokens our requests had on an engine lately, and where it comes from: `ledger`, or `assumed` where there were none."""
    prefill, decode = tokens_of(conn, engine, Period(now - MIX_DAYS * 86400.0, now))
    return (Mix.of(prefill, decode), "ledger") if prefill + decode else (USUAL_MIX, "assumed")


def parsed_mix(text: str) -> Mix:
    """A mix from `IN:OUT`. Raises ConfigError saying how to write it."""
    try:
        prompt, generated = (float(part) for part in text.split(":"))
    except ValueError:
        prompt = generated = 0.0
    if min(prompt, generated) >= 0.0 and 0.0 < prompt + generated < float("inf"):
        return Mix.of(prompt, generated)
    raise ConfigError(f"--mix {text!r} is not IN:OUT; write 4:1 for four prompt tokens to one generated")


def document(config: Config, engine: str, curve: Curve | None, mix: tuple[Mix, str], now: float) -> dict[str, Any]:
    """What is known of an engine's speed and what it means in money at `now`. `curve` is null when it was never calibrated; costs are null while
    `gpu_hour_usd` is not set. RequestError for an engine that the configuration does not have."""
    section = config.engines.get(engine)
    if section is None:
        raise RequestError(f"there is no engine {engine!r} in the configuration", status=404, code="engine_not_found", param="engine")
    hour = section.gpu_hour_nanousd
    whole: dict[str, Any] = {
        "engine": engine,
        "gpu_hour_nanousd": hour,
        "gpu_hour_usd": usd(hour),
        "replicas": section.replica_count,
        "mix": {"prompt": mix[0].prompt, "cached": mix[0].cached, "source": mix[1]},
        "curve": None if curve is None else _curve(curve),
        "cost_by_utilisation": [],
        "hosted": [],
    }
    if curve is not None:
        at = curve.saturation
        whole["cost_by_utilisation"] = [_step(hour, at, mix[0], step) for step in STEPS]
        whole["hosted"] = _hosted(config, hour, at, mix[0], now)
    return whole


def _curve(curve: Curve) -> dict[str, Any]:
    at = curve.saturation
    known = {name: value for name, value in asdict(curve).items() if name not in ("engine", "measured_at", "points")}
    return known | {
        "measured_at": rfc3339(curve.measured_at),
        "points": [asdict(point) for point in curve.points],
        "saturation": asdict(at),
        "decode_weight": at.decode_weight,
    }


def _step(hour: int | None, at: Saturation, mix: Mix, utilisation: float) -> dict[str, Any]:
    cost = None if hour is None else cost_per_million(hour, at, mix, utilisation)
    return {"utilisation": utilisation, "cost_per_m_nanousd": cost, "cost_per_m_usd": usd(cost)}


def _hosted(config: Config, hour: int | None, at: Saturation, mix: Mix, now: float) -> list[dict[str, Any]]:
    book, rows = prices.book(config), []
    for row in price_listing.listing(config, None, now)["data"]:
        provider, model = row["provider"], row["model"]
        price = book.price(provider, config.providers[provider].kind, model, now) if provider in config.providers else None
        hosted = None if price is None else hosted_per_million(price, mix)
        even = None if price is None or hour is None else break_even(hour, at, mix, price)
        rows.append(
            {
                "provider": provider,
                "model": model,
                "cost_per_m_nanousd": hosted,
                "cost_per_m_usd": usd(hosted),
                "break_even_utilisation": None if even is None or even > 1.0 else even,
                "local_share_at_full_use": even,
                "verdict": _verdict(hosted, hour, even),
            }
        )
    return rows


def _verdict(hosted: int | None, hour: int | None, even: float | None) -> str:
    if hosted is None:
        return "price_unknown"
    if hour is None:
        return "gpu_price_unknown"
    if even is None or even > 1.0:
        return "never"
    return "from_utilisation"
