"""How long answers take, from files of graded answers that say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from p2l_model.data.model_names import canonical
from p2l_model.data.tables import numbers, read_columns

_LONGEST_MS: Final = 86_400_000.0


def latencies(paths: Sequence[Path]) -> Mapping[str, float]:
    """The median seconds of an answer, from the column latency_ms, by canonical name of the model;
    models without one are missing. Raises DataError."""
    seen: defaultdict[str, list[float]] = defaultdict(list)
    for path in paths:
        columns = read_columns(path)
        if "latency_ms" not in columns or "model" not in columns:
            continue
        times = numbers(columns, "latency_ms", path, 0.0, _LONGEST_MS)
        for model, milliseconds in zip(columns["model"], times, strict=True):
            if np.isfinite(milliseconds):
                seen[canonical(str(model))].append(milliseconds)
    return {model: median(times) / 1000.0 for model, times in seen.items()}
