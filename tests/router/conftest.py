"""How hypothesis runs here: the same examples every time and no clock, so that a busy machine or an unlucky draw never fails a run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
