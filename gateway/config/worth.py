"""The section `worth` of the configuration: what the verdict takes for granted, where you know better than the defaults (docs/worth.md has each)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.config.section import Section

Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Some = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class WorthConfig(Section):
    """Each key is an assumption of router/assumptions.py; one left out keeps its default or what was measured."""

    gpu_hour_usd: Some | None = None
    gpu_s_per_m: Some | None = None
    peak: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    gpu_hours_per_month: Annotated[float, Field(gt=0, le=744)] | None = None
    label_items: Cost | None = None
    label_usd: Cost | None = None
    engineering_weeks: Cost | None = None
    week_usd: Cost | None = None
    training_gpu_hours: Cost | None = None
    evaluation_usd: Cost | None = None
    operation_hours: Cost | None = None
    operation_hour_usd: Cost | None = None
    horizon_months: Some | None = None

    @property
    def stated(self) -> dict[str, float]:
        """What the file says, by name."""
        return {name: value for name, value in self if value is not None}
