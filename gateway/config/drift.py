"""The sections about drift: `drift` for all routes, and `drift` of one route."""

from __future__ import annotations

from gateway.config.section import Section
from gateway.config.values import Count, Hours, Share, Tolerance


class DriftConfig(Section):
    """Whether traffic and answers are watched and acted upon, on how many requests of a route a worker measures each second, and how sure it must be:
    `false_alarms` per million measured requests of a version at most; fewer than `min_change` of the requests being different does not matter.
    What comes in during a version's first `learn_hours` is learnt and only told about, for a day has its rhythm, and a week as well."""

    enabled: bool = True
    act: bool = True
    per_second: Count = 20
    false_alarms: Tolerance = 0.01
    min_change: Share = 0.1
    learn_hours: Hours = 72


class RouteDriftConfig(Section):
    """The same of one route. `enabled` and `act` cannot be on where they are off for all; `min_change` None: as for all."""

    enabled: bool = True
    act: bool = True
    min_change: Share | None = None
