"""The number of CPU cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# A container's CPU quota and period in microseconds (cgroup v2); "max" means no quota.
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """The number of cores in the process's affinity, or fewer where its container's quota is lower;
    at least 1. quota: the file with the quota."""
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    try:
        time_us, period_us = quota.read_text(encoding="ascii").split()
        return max(1, min(n_cores, round(int(time_us) / int(period_us))))
    except (OSError, ValueError, ZeroDivisionError):
        return n_cores
