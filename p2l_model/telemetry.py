"""Switches off the telemetry of libraries before any of them is imported."""

from __future__ import annotations

import os
from typing import Final

# onnxruntime reads its variable when it is imported: disable_telemetry_events() would be too late.
_SAY_NO: Final = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
}


def refuse_telemetry() -> None:
    """Sets the variables for this process and its children; variables that are already set are
    kept."""
    for name, value in _SAY_NO.items():
        os.environ.setdefault(name, value)
