"""The sections about hosted dollars: budgets of routes and tags by UTC day and month, and the alerts about them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from gateway.config.section import Section
from gateway.config.values import Usd
from router.money import parse_usd


def _tag(value: str) -> str:
    name, equals, worth = value.partition("=")
    if not equals or not name.strip() or value != value.strip() or "," in value or name != name.strip() or worth != worth.strip():
        raise ValueError("must be a tag as requests carry it, such as team=search")
    return value


def _webhook(value: str) -> str:
    """An http(s) URL; the message does not repeat it, for it may hold a secret."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  raises when it is not a number below 65536
    except ValueError:
        raise ValueError("must be a URL such as https://hooks.example.com/breakeven") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be a URL that begins with http:// or https://, without credentials or fragment, such as https://hooks.example.com/breakeven")
    return value


def _shares(value: object) -> object:
    given = (value,) if isinstance(value, int | float) else value
    if not isinstance(given, list | tuple) or not all(isinstance(each, int | float) and not isinstance(each, bool) and 0 < each <= 10 for each in given):
        raise ValueError("must be a list of shares of a budget, each above 0 and at most 10, such as [0.8, 1.0]")
    return tuple(sorted({float(each) for each in given}))


class BudgetConfig(Section):
    """Hosted dollars that may be spent in a UTC day and in a UTC month."""

    usd_per_day: Usd | None = None
    usd_per_month: Usd | None = None

    @property
    def nanousd_per_day(self) -> int | None:
        """Nano-dollars; None: no limit."""
        return None if self.usd_per_day is None else parse_usd(self.usd_per_day)

    @property
    def nanousd_per_month(self) -> int | None:
        """Nano-dollars; None: no limit."""
        return None if self.usd_per_month is None else parse_usd(self.usd_per_month)


class TagBudgetConfig(BudgetConfig):
    """The budget of all requests that carry a tag, whoever sends them and wherever they go."""

    tag: Annotated[str, AfterValidator(_tag)]


class BudgetsConfig(Section):
    """Budgets that belong to no route and no key."""

    tags: tuple[TagBudgetConfig, ...] = ()


class AlertsConfig(Section):
    """Whom to tell when shares of a budget are spent. `secret` signs what is sent, as Standard Webhooks has it."""

    webhook: Annotated[str, AfterValidator(_webhook)] | None = Field(default=None, repr=False)
    at: Annotated[tuple[float, ...], BeforeValidator(_shares)] = (0.8, 1.0)
    forecast: bool = True
    secret: SecretStr | None = None
