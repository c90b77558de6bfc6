"""From configuration to the plain values serving takes: replicas to run, what may be added where, which routes an adapter has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.config.models import Config, EngineConfig
from router.errors import RequestError
from serving.admission import Limits
from serving.command import Launch
from serving.intake import Intake
from serving.replica import Spec


def replica_specs(config: Config, python: str) -> list[Spec]:
    """Every replica of every engine. `python` is the interpreter where an engine names none."""
    return [spec for name, engine in config.engines.items() for spec in _specs(name, engine, config.server.data_dir / "engines", python)]


def launches(config: Config, python: str) -> list[Launch]:
    """The managed engines, for checking."""
    return [_launch(name, engine, python) for name, engine in config.engines.items() if engine.managed]


def adapter_routes(config: Config) -> dict[str, dict[str, bool]]:
    """Adapter -> route that has it as a candidate -> whether that route has a suite, and so a gate."""
    found: dict[str, dict[str, bool]] = {}
    for name, route in config.routes.items():
        for candidate in route.candidates:
            if candidate.adapter is not None:
                found.setdefault(candidate.adapter, {})[name] = route.quality.suite is not None
    return found


def engine_for(config: Config, adapter: str, asked: str | None = None, known: str | None = None) -> str:
    """The engine an adapter belongs to: as asked, as registered, as routes say, or the only one there is. RequestError when that decides nothing."""
    if asked is not None and asked not in config.engines:
        raise RequestError(f"there is no engine {asked!r} in the configuration", status=404, code="engine_not_found", param="engine")
    routed = {c.engine for route in config.routes.values() for c in route.candidates if c.adapter == adapter and c.engine}
    choices: list[str | None] = [asked, known, *(routed if len(routed) == 1 else ()), *(config.engines if len(config.engines) == 1 else ())]
    for choice in choices:
        if choice is not None:
            return choice
    raise RequestError(f"say which engine {adapter} is for: {', '.join(config.engines) or 'the configuration has none'}", param="engine")


def intake(config: Config, engine: str, environ: Mapping[str, str]) -> Intake:
    """What may be added to `engine`. RequestError when the configuration has no such engine."""
    section = config.engines.get(engine)
    if section is None:
        raise RequestError(f"there is no engine {engine!r} in the configuration", status=404, code="engine_not_found", param="engine")
    return Intake(
        engine=engine,
        model=section.model,
        managed=section.managed,
        limits=Limits(max_rank=section.max_lora_rank),
        roots=tuple(config.adapters.import_roots),
        data_dir=config.server.data_dir,
        cache=_hub(environ),
    )


def _specs(name: str, engine: EngineConfig, directory: Path, python: str) -> list[Spec]:
    if not engine.managed:
        key = None if engine.api_key is None else engine.api_key.get_secret_value()
        return [Spec(name, i, directory, url=url, api_key=key, paths=dict(engine.adapter_path_map)) for i, url in enumerate(engine.urls)]
    launch = _launch(name, engine, python)
    return [Spec(name, i, directory, launch, startup_timeout_s=engine.startup_timeout_s) for i in range(engine.replicas)]


def _launch(name: str, engine: EngineConfig, python: str) -> Launch:
    model = engine.model or ""
    return Launch(
        engine=name,
        model=model,
        python=engine.python or python,
        replicas=engine.replicas,
        max_loras=engine.max_loras,
        max_lora_rank=engine.max_lora_rank,
        local_model=Path(model).is_dir(),
        args=engine.args,
        env=dict(engine.env),
    )


def _hub(environ: Mapping[str, str]) -> Path:
    """Where Hugging Face keeps models, by its own rules."""
    if hub := environ.get("HF_HUB_CACHE"):
        return Path(hub)
    home = environ.get("HF_HOME")
    return Path(home) / "hub" if home else Path(environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "huggingface" / "hub"
