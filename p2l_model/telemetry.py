"""Libraries that report to their makers are told not to, before any of them is imported."""

from __future__ import annotations

import os
from typing import Final

# onnxruntime reads its variable as it is imported: disable_telemetry_events() comes too late.
_SAY_NO: Final = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
}


def refuse_telemetry() -> None:
    """Sets the variables for this process and its children; one that is set already is kept."""
    for name, value in _SAY_NO.items():
        os.environ.setdefault(name, value)
