"""The shape of `breakeven.yaml`: one frozen class per section, named and defaulted as documented in deploy/breakeven.yaml.

What must hold between sections is in checks.py; reading, substitution and file positions are elsewhere too. Durations are milliseconds (`_ms`) unless
the name says otherwise, amounts are dollars as exact decimals with integer nano-dollars beside them. Secrets never show in `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, SecretStr
from typing_extensions import override

from gateway.config.budgets import AlertsConfig, BudgetConfig, BudgetsConfig
from gateway.config.drift import DriftConfig, RouteDriftConfig
from gateway.config.ledger import LedgerConfig
from gateway.config.prices import PriceOverride
from gateway.config.section import Section
from gateway.config.telemetry import TelemetryConfig
from gateway.config.training import TrainingConfig
from gateway.config.values import (
    After,
    Amount,
    Command,
    Count,
    DatabaseUrl,
    Days,
    FilePath,
    HttpUrl,
    Margin,
    Millis,
    ModelOrDirectory,
    Models,
    Name,
    OpenShare,
    Origins,
    Port,
    Rate,
    Seconds,
    Share,
    Text,
    Usd,
    Whole,
    absolute,
)
from gateway.config.worth import WorthConfig
from router.errors import Problem
from router.money import parse_usd
from router.types import Kind, Slo
from serving.programs import Program

OPENAI_URL = "https://api.openai.com/v1"
Redaction = Literal["email", "phone", "card"]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class ServerConfig(Section):
    """Where the gateway listens and keeps its files."""

    host: Name = "127.0.0.1"
    port: Port = 8080
    workers: Count = 1
    admin_key: SecretStr | None = None
    admin_port: Port | None = None
    data_dir: FilePath = Path(".breakeven")
    files_gib: Count = 20
    default_provider: Name = "openai"
    max_in_flight: Count = 2048
    max_queue: Amount = 1024
    cors_origins: Origins = ()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return is_loopback(self.host)


class ProviderConfig(Section):
    """A hosted OpenAI-compatible API. `headers` are sent with every call and may hold secrets."""

    kind: Literal["openai", "azure", "compatible"] = "openai"
    base_url: HttpUrl = OPENAI_URL
    api_key: SecretStr | None = None
    models: Models = "*"
    headers: dict[str, Text] = Field(default={}, repr=False)
    sandbox: bool = False
    train_on_outputs: bool = False

    @property
    def listed(self) -> tuple[str, ...]:
        """The models it lists, as router.naming wants them: `("*",)` lists all."""
        return (self.models,) if isinstance(self.models, str) else self.models


class EngineConfig(Section):
    """One vLLM base model: launched here (`model`) or run by someone else (`urls`)."""

    model: ModelOrDirectory | None = None
    gpu_hour_usd: Usd | None = None
    replicas: Count = 1
    max_loras: Count = 8
    max_lora_rank: Whole = 32
    python: Command | None = None
    args: tuple[Text, ...] = ()
    env: dict[str, Text] = Field(default={}, repr=False)
    startup_timeout_s: Seconds = 600
    urls: tuple[HttpUrl, ...] = ()
    api_key: SecretStr | None = None
    adapter_path_map: dict[str, Text] = Field(default={})

    @property
    def managed(self) -> bool:
        """Whether `breakeven serve` launches it."""
        return not self.urls

    @property
    def replica_count(self) -> int:
        """How many vLLM servers it has: as many as `urls`, or `replicas`."""
        return len(self.urls) or self.replicas

    @property
    def gpu_hour_nanousd(self) -> int | None:
        """Nano-dollars for one replica and hour; None: unknown."""
        return None if self.gpu_hour_usd is None else parse_usd(self.gpu_hour_usd)


class AdaptersConfig(Section):
    """Where adapter versions may be added from."""

    import_roots: tuple[FilePath, ...] = (Path(),)


class RetrievalConfig(Section):
    """The texts a program looks something up in."""

    source: FilePath
    k: Count = 5
    timeout_ms: Millis = 200


class ProgramConfig(Section):
    """What is put before a candidate's conversation: a system text, examples, retrieved passages."""

    system: FilePath | None = None
    examples: FilePath | None = None
    k: Count = 16
    select: Literal["similar", "first"] = "similar"
    retrieval: RetrievalConfig | None = None


class CandidateConfig(Section):
    """One way to answer a route: provider and model, or engine and adapter (or its bare base)."""

    provider: Name | None = None
    model: Name | None = None
    engine: Name | None = None
    adapter: Name | None = None
    program: ProgramConfig | None = None

    @property
    def kind(self) -> Kind:
        """Hosted or local."""
        return "hosted" if self.provider is not None else "local"

    @property
    def owner(self) -> str:
        """The name of its provider or engine."""
        return self.provider or self.engine or ""


class SloConfig(Section):
    """What the router aims at. No aim unless one is given."""

    ttft_ms: Millis | None = None
    total_ms: Millis | None = None
    target: OpenShare = 0.95

    def to_router(self) -> Slo:
        """The router's value."""
        return Slo(ttft_ms=self.ttft_ms, total_ms=self.total_ms, target=self.target)


class TimeoutsConfig(Section):
    """Where the gateway gives up."""

    connect_ms: Millis = 2000
    first_token_ms: Millis = 30000
    idle_ms: Millis = 30000
    total_ms: Millis = 600000
    min_tokens_per_s: Rate | None = None


class HedgeConfig(Section):
    """When the next candidate is called beside one that does not answer, and the share of the route's hosted dollars that this may cost on top."""

    after_ms: After
    spend: Share = 0.05


class ShadowConfig(Section):
    """Which share of conversations is also asked of the other side, what that may cost hosted, and how far two equally good sides agree."""

    share: Share = 0.0
    usd_per_day: Usd = Decimal(1)
    agree: Share = 0.9

    @property
    def nanousd_per_day(self) -> int:
        """The allowance in nano-dollars."""
        return parse_usd(self.usd_per_day)


class QualityConfig(Section):
    """The non-inferiority margin against the first candidate, the suite it is judged on, and shadow calls."""

    floor: Margin = -0.02
    suite: FilePath | None = None
    shadow: ShadowConfig = ShadowConfig()


class CaptureConfig(Section):
    """Which share of conversations is kept for training, how long, and what is blotted out first."""

    sample: Share = 0.0
    retain_days: Days = 30
    redact: tuple[Redaction, ...] = ("email", "phone", "card")


class RouteConfig(Section):
    """A name clients ask for, the ways to answer it, and what is wanted of the answers."""

    candidates: tuple[CandidateConfig, ...] = Field(min_length=1)
    slo: SloConfig = SloConfig()
    timeouts: TimeoutsConfig = TimeoutsConfig()
    hedge: HedgeConfig | None = None
    quality: QualityConfig = QualityConfig()
    capture: CaptureConfig = CaptureConfig()
    drift: RouteDriftConfig = RouteDriftConfig()
    budget: BudgetConfig = BudgetConfig()


class Config(Section):
    """The whole file, with every path absolute. Build it with gateway.config.load: the checks between sections are there."""

    server: ServerConfig = ServerConfig()
    database: DatabaseUrl = Field(default="sqlite:///breakeven.db", repr=False)
    redis: Name | None = Field(default=None, repr=False)
    providers: dict[str, ProviderConfig] = Field(default={})
    engines: dict[str, EngineConfig] = Field(default={})
    adapters: AdaptersConfig = AdaptersConfig()
    prices: tuple[PriceOverride, ...] = ()
    training: TrainingConfig = TrainingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    ledger: LedgerConfig = LedgerConfig()
    drift: DriftConfig = DriftConfig()
    routes: dict[str, RouteConfig] = Field(default={})
    budgets: BudgetsConfig = BudgetsConfig()
    alerts: AlertsConfig = AlertsConfig()
    worth: WorthConfig = WorthConfig()

    _source: Path = PrivateAttr(default=Path("breakeven.yaml"))
    _warnings: tuple[Problem, ...] = PrivateAttr(default=())
    _programs: Mapping[ProgramConfig, Program] = PrivateAttr(default={})

    @override
    def model_post_init(self, context: Any, /) -> None:
        """Remember where the file is and what was doubtful about it."""
        if isinstance(context, dict):
            self._source = context.get("source", self._source)
            self._warnings = tuple(context.get("warnings", ()))

    @property
    def source(self) -> Path:
        """The file this was read from."""
        return self._source

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is allowed and probably not meant."""
        return self._warnings

    @property
    def programs(self) -> Mapping[ProgramConfig, Program]:
        """The candidates' programs as their files were when this was read."""
        return self._programs

    def with_programs(self, programs: Mapping[ProgramConfig, Program]) -> Config:
        """The same with programs that were read."""
        made = self.model_copy()
        made._programs = programs
        return made

    @property
    def default_provider(self) -> ProviderConfig | None:
        """Where requests outside the routes pass through to; None: nowhere."""
        return self.providers.get(self.server.default_provider)

    def resolve(self, path: str | Path) -> Path:
        """`path` seen from the configuration file's directory."""
        return absolute(path, self._source.parent)
