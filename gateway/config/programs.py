"""The programs of a configuration, read: what is put before the conversations of candidates that have one."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.models import ProgramConfig
from router.errors import ConfigError, DataError
from serving import programs
from serving.programs import Program, Spec


def spec_of(config: ProgramConfig) -> Spec:
    """A configured program as serving knows it."""
    found = config.retrieval
    return Spec(
        system=config.system,
        examples=config.examples,
        k=config.k,
        select=config.select,
        source=None if found is None else found.source,
        passages=0 if found is None else found.k,
        timeout_ms=200.0 if found is None else found.timeout_ms,
    )


def loaded(configs: Sequence[ProgramConfig]) -> dict[ProgramConfig, Program]:
    """The programs, read now. ConfigError when a file changed for the worse since the configuration was checked."""
    try:
        return {config: programs.load(spec_of(config)) for config in dict.fromkeys(configs)}
    except DataError as error:
        raise ConfigError(error.message, error.problems) from error
