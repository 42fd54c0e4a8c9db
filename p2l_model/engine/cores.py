"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# Of a container (cgroup v2): the quota and its period in microseconds, or "max" for no quota.
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """At least 1: those that the process is kept to, or fewer where its container's share of time
    is less. quota: the file that says so."""
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    try:
        time_us, period_us = quota.read_text(encoding="ascii").split()
        return max(1, min(n_cores, round(int(time_us) / int(period_us))))
    except (OSError, ValueError, ZeroDivisionError):
        return n_cores
