"""What `/v1/models` shows a key: the routes, engines, adapters and listed provider models it may ask for, in OpenAI's shape. Pure."""

from __future__ import annotations

from typing import Any

from gateway.auth import allowed
from gateway.store.fine_tuning import MODEL_PREFIX
from gateway.store.keys import Key
from gateway.view import FleetView, RoutePlan
from router.naming import EVERYTHING, backend_name


def listing(view: FleetView, key: Key | None, created: int) -> dict[str, Any]:
    """The list object. `created` stands in for a creation time that names have not."""
    data = [entry(name, owner, created) for name, owner in _names(view).items() if allowed(key, name, is_route=name in view.routes)]
    return {"object": "list", "data": data}


def one(plan: RoutePlan, created: int) -> dict[str, Any]:
    """One model, by any name a request could use."""
    owner = "breakeven" if plan.route is not None or plan.name.startswith(MODEL_PREFIX) else plan.snapshot.candidates[0].owner
    return entry(plan.name, owner, created)


def entry(name: str, owner: str, created: int) -> dict[str, Any]:
    """A model object."""
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


def _names(view: FleetView) -> dict[str, str]:
    names = dict.fromkeys(view.routes, "breakeven")
    names |= dict.fromkeys(view.ft_names, "breakeven")
    for provider, models in view.listed.items():
        names |= {model: provider for model in models if model != EVERYTHING and model not in names}
    for engine in view.config.engines:
        names[engine] = engine
    for adapter in view.adapters.values():
        if adapter.engine in view.config.engines and adapter.live is not None:
            names[backend_name(adapter.engine, adapter.name)] = adapter.engine
    return names
