"""From configuration, registry and prices to the fleet's view: which candidates a route has and how each is called. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.auth import no_such_model
from gateway.config.models import CandidateConfig, CaptureConfig, Config, EngineConfig, ProviderConfig, RouteConfig, TimeoutsConfig
from gateway.prices import PriceBook
from gateway.programs import NOT_TALKS
from gateway.transcript import Rename
from gateway.view import Backend, Facts, FleetView, RoutePlan
from router.capability import engine_takes, provider_takes
from router.naming import EVERYTHING, PROGRAM, Target, backend_name, parse
from router.record import digest, to_dict
from router.types import Candidate, Kind, Slo, Snapshot, Stage
from serving.views import AdapterView, ReplicaView, stage_of

# Sequences a vLLM replica runs at close to full speed where `--max-num-seqs` does not say: decoding a 7B model is bound by memory up to about this many.
PRIOR_SLOTS = 16
_LARGE_PROMPT = 100_000_000


def build(config: Config, facts: Facts, prices: PriceBook, now: float) -> FleetView:
    """The view at `now` (prices have dates)."""
    maker = _Maker(config, facts, prices, now)
    routes = {name: maker.route(name, route) for name, route in config.routes.items()}
    owners: dict[str, Kind] = {name: "hosted" for name in config.providers}  # noqa: C420 - dict.fromkeys loses the literal type
    owners.update((name, "local") for name in config.engines)
    listed = {name: _models(provider) for name, provider in config.providers.items()}
    known = frozenset(backend for plan in routes.values() for backend in plan.backends)
    is_open = facts.no_keys and config.server.loopback
    return FleetView(config=config, facts=facts, routes=routes, listed=listed, owners=owners, backends=known, open_access=is_open, ft_names=facts.ft_names)


def resolve(view: FleetView, name: str) -> Target:
    """What a `model` value means. RequestError 404 in OpenAI's words for nothing."""
    target = parse(name, view.routes, view.ft_names, view.listed, view.owners)
    if target is None:
        raise no_such_model(name)
    return target


def pinned(view: FleetView, target: Target, name: str, prices: PriceBook, now: float) -> RoutePlan:
    """The plan of one named candidate. RequestError 404 when the provider does not offer it or the engine has no such adapter or version."""
    maker = _Maker(view.config, view.facts, prices, now)
    found = maker.pinned(target)
    if found is None:
        raise no_such_model(name)
    return _plan(name, None, (found,), None)


def programmed(plan: RoutePlan, name: str) -> RoutePlan | None:
    """A route's plan with the choice taken away, where `name` is its candidate with a program; None: it is not."""
    found = plan.backends.get(name)
    return None if found is None or found.program is None else pinned_on(plan, _plan(name, None, (found,), None))


def pinned_on(plan: RoutePlan, only: RoutePlan) -> RoutePlan:
    """A route's plan with the choice taken away: its timeouts, captures and budget, one candidate."""
    snapshot = replace(only.snapshot, slo=plan.snapshot.slo)
    marked = _digested(snapshot)
    spent = _digested(replace(snapshot, hosted_budget_left=False))
    bodies = {marked.digest: to_dict(marked), spent.digest: to_dict(spent)}
    return replace(plan, snapshot=marked, spent=spent, backends=only.backends, bodies=bodies, hedge=None)


class _Maker:
    """One building of one view."""

    def __init__(self, config: Config, facts: Facts, prices: PriceBook, now: float) -> None:
        self.config = config
        self.facts = facts
        self.prices = prices
        self.now = now

    def route(self, name: str, route: RouteConfig) -> RoutePlan:
        found: list[Backend] = []
        for candidate in route.candidates:
            found += [self.programmed(backend, candidate, found) for backend in self.candidates(name, candidate)]
        plan = _plan(name, name, tuple(found), route)
        drift = self.config.drift
        watched = drift.enabled and route.drift.enabled and any(backend.candidate.adapter for backend in found)
        return replace(plan, watch=drift.per_second) if watched else plan

    def programmed(self, backend: Backend, candidate: CandidateConfig, others: list[Backend]) -> Backend:
        """With its program, where it has one; another candidate of the route that would have its name keeps it."""
        if candidate.program is None:
            return backend
        program, plain = self.config.programs[candidate.program], backend.candidate
        taken = {other.candidate.backend for other in others}
        names = (plain.backend, plain.backend + PROGRAM, *(f"{plain.backend}{PROGRAM}-{n}" for n in range(2, len(others) + 3)))
        name = next(each for each in names if each not in taken)
        return replace(backend, program=program, candidate=replace(plain, backend=name, takes=plain.takes - NOT_TALKS, program_bytes=program.bytes))

    def candidates(self, route: str, candidate: CandidateConfig) -> list[Backend]:
        if candidate.provider is not None:
            return [self.hosted(candidate.provider, candidate.model or "")]
        engine = candidate.engine or ""
        if candidate.adapter is None:
            return [self.base(engine)]
        adapter = self.facts.adapters.get(candidate.adapter)
        if adapter is None or adapter.engine != engine:
            return [self.missing(engine, candidate.adapter)]
        found = [self.missing(engine, adapter.name) if adapter.live is None else self.version(adapter, adapter.live, route)]
        if adapter.canary_version is not None and adapter.canary_version != adapter.live:
            found.append(self.version(adapter, adapter.canary_version, route))
        return found

    def pinned(self, target: Target) -> Backend | None:
        owner = target.owner or ""
        if target.owner_kind == "hosted":
            return self.hosted(owner, target.model or "") if self.offers(owner, target.model or "") else None
        if target.adapter is None:
            return self.base(owner)
        adapter = self.facts.adapters.get(target.adapter)
        if adapter is None or adapter.engine != owner:
            return None
        number = target.version
        if target.digest is not None:
            number = next((version.version for version in adapter.versions if version.digest == target.digest), None)
        elif number is None:
            number = adapter.live
            if number is None:
                return self.missing(owner, adapter.name)
        if number is None or adapter.version(number) is None:
            return None
        backend = self.version(adapter, number, None)
        return backend if target.answer_as is None else replace(backend, rename=Rename(adapter.model(number), target.answer_as))

    def offers(self, provider: str, model: str) -> bool:
        listed = _models(self.config.providers[provider])
        return (
            EVERYTHING in listed
            or model in listed
            or any(candidate.provider == provider and candidate.model == model for route in self.config.routes.values() for candidate in route.candidates)
        )

    def hosted(self, name: str, model: str) -> Backend:
        provider = self.config.providers[name]
        price = self.prices.price(name, provider.kind, model, self.now)
        large = self.prices.price(name, provider.kind, model, self.now, input_tokens=_LARGE_PROMPT)
        candidate = Candidate(
            backend=backend_name(name, model),
            kind="hosted",
            owner=name,
            model=model,
            price=price,
            context_tokens=self.prices.context_tokens(model, name, provider.kind),
            takes=provider_takes(provider.kind),
            sandbox=provider.sandbox,
        )
        base = str(provider.base_url)
        tiered = price is not None and large is not None and replace(price, source="") != replace(large, source="")
        until = self.prices.next_change(name, provider.kind, model, self.now)
        return Backend(candidate, (base,), {base: model}, provider_headers(provider), provider_kind=provider.kind, tiered=tiered, priced_until=until)

    def base(self, name: str) -> Backend:
        usable = [replica for replica in self.facts.replicas.get(name, ()) if replica.healthy]
        names = {_api(replica): replica.model or name for replica in usable}
        backend = self.local(name, backend_name(name), usable, names)
        other = next((said for said in names.values() if said != name), None)
        return backend if other is None else replace(backend, rename=Rename(other, name))

    def missing(self, engine: str, adapter: str) -> Backend:
        """An adapter without a live version: it stays in the decision, dropped for that reason."""
        backend = self.local(engine, backend_name(engine, adapter), [], {})
        return replace(backend, candidate=replace(backend.candidate, adapter=adapter, stage=Stage.BLOCKED))

    def version(self, adapter: AdapterView, number: int, route: str | None) -> Backend:
        view = adapter.version(number)
        verified = frozenset(view.replicas) if view is not None else frozenset()
        usable = [replica for replica in self.facts.replicas.get(adapter.engine, ()) if replica.healthy and replica.index in verified]
        model = adapter.model(number)
        backend = self.local(adapter.engine, model, usable, {_api(replica): model for replica in usable})
        stage = Stage.OPEN if route is None else stage_of(adapter, number, route, self.facts.stages)
        percent = adapter.canary_percent if number == adapter.canary_version else 0.0
        candidate = replace(backend.candidate, adapter=adapter.name, version=number, stage=stage, canary_percent=percent)
        return replace(backend, candidate=candidate)

    def local(self, name: str, backend: str, usable: list[ReplicaView], names: Mapping[str, str]) -> Backend:
        engine = self.config.engines[name]
        lengths = [replica.max_model_len for replica in usable if replica.max_model_len]
        candidate = Candidate(
            backend=backend,
            kind="local",
            owner=name,
            model=backend,
            context_tokens=min(lengths) if lengths else None,
            takes=engine_takes(tool_calls=not engine.managed or _has(engine, "--tool-call-parser")),
            gpu_hour_nanousd=engine.gpu_hour_nanousd,
        )
        slots = len(usable) * (_number(engine, "--max-num-seqs") or PRIOR_SLOTS)
        bases, adapter_slots = tuple(_api(replica) for replica in usable), _adapter_slots(engine, len(usable))
        return Backend(candidate, bases, names, engine_headers(engine), slots=slots, adapter_slots=adapter_slots)


def provider_headers(provider: ProviderConfig) -> dict[str, str]:
    """What identifies us to a provider. Azure takes its key under a name of its own as well."""
    found: dict[str, str] = {}
    if provider.api_key is not None:
        secret = provider.api_key.get_secret_value()
        found["authorization"] = f"Bearer {secret}"
        if provider.kind == "azure":
            found["api-key"] = secret
    return found | {name.lower(): value for name, value in provider.headers.items()}


def engine_headers(engine: EngineConfig) -> dict[str, str]:
    """What identifies us to a vLLM server."""
    return {} if engine.api_key is None else {"authorization": f"Bearer {engine.api_key.get_secret_value()}"}


def _plan(name: str, route: str | None, backends: tuple[Backend, ...], config: RouteConfig | None) -> RoutePlan:
    snapshot = Snapshot(
        route=name,
        candidates=tuple(backend.candidate for backend in backends),
        slo=config.slo.to_router() if config else Slo(),
        pinned=config is None,
    )
    left, spent = _digested(snapshot), _digested(replace(snapshot, hosted_budget_left=False))
    return RoutePlan(
        name=name,
        route=route,
        snapshot=left,
        spent=spent,
        backends={backend.candidate.backend: backend for backend in backends},
        timeouts=config.timeouts if config else TimeoutsConfig(),
        capture=config.capture if config else CaptureConfig(),
        bodies={left.digest: to_dict(left), spent.digest: to_dict(spent)},
        first_hosted=next((backend for backend in backends if backend.candidate.kind == "hosted"), None),
        hedge=config.hedge if config else None,
        siblings=len({backend.candidate.owner for backend in backends}) < len(backends),
    )


def _digested(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, digest=digest(snapshot))


def _models(provider: ProviderConfig) -> tuple[str, ...]:
    return (provider.models,) if isinstance(provider.models, str) else provider.models


def _adapter_slots(engine: EngineConfig, replicas: int) -> int:
    """How many adapters are served at once; 0: not known, for an engine that somebody else runs."""
    return 0 if not engine.managed else replicas * engine.max_loras


def _api(replica: ReplicaView) -> str:
    return replica.url.rstrip("/") + "/v1"


def _has(engine: EngineConfig, flag: str) -> bool:
    return any(arg == flag or arg.startswith(flag + "=") for arg in engine.args)


def _number(engine: EngineConfig, flag: str) -> int | None:
    for index, arg in enumerate(engine.args):
        text = arg.removeprefix(flag + "=") if arg.startswith(flag + "=") else engine.args[index + 1] if arg == flag and index + 1 < len(engine.args) else ""
        if text.isdecimal():
            return int(text)
    return None
