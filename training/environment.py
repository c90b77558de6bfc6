"""Environment variables that must stand before torch is imported. Pure; whoever starts training applies them.

Public: `for_training(environ) -> dict[str, str]`: what to add; nothing the user set is changed.
"""

from __future__ import annotations

from collections.abc import Mapping

_DEFAULTS = {
    # Threads that wait for each other by spinning steal the very cores they wait for as soon as anything else runs. Measured on two cores at a load of 7:
    # 5-13 s per step spinning, 1.6 s sleeping; on an idle machine there is no difference worth naming.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Tokenising is done before the first step; the tokenizer's own threads only compete (and warn after a fork).
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def for_training(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to set in a process that will import torch."""
    return {name: value for name, value in _DEFAULTS.items() if name not in environ}
