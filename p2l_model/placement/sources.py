"""Which published results are used, of which topics, and on which scale each is linear.

One number for each model, source and topic is kept, rounded, at most twelve topics a source.
LMArena's filters (no_tie, no_short, no_refusal) are no topics. LiveBench's releases share models;
they are chained into one scale before they are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from p2l_model.types import FloatArray

Scale = Literal["percent", "elo", "linear"]
_ELO_PER_LOG_ODDS: Final = 400 / math.log(10)
_CHAIN_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class Source:
    """name: here. origin: as the file of results names it. link: where it is published. scale:
    percent is read as log-odds, elo as natural log-odds. topics: as kept -> (benchmark, category)
    of the file. chained: the benchmark's name is a prefix, and what follows it is a release."""

    name: str
    origin: str
    link: str
    scale: Scale
    topics: Mapping[str, tuple[str, str]]
    chained: bool = False


def _categories(benchmark: str, names: str) -> dict[str, tuple[str, str]]:
    return {name: (benchmark, name) for name in names.split()}


def _benchmarks(names: str) -> dict[str, tuple[str, str]]:
    return {name: (name, "") for name in names.split()}


SOURCES: Final[Sequence[Source]] = (
    Source(
        "lmarena", "lmarena/arena-catalog", "https://github.com/lmarena/arena-catalog", "elo",
        _categories(
            "lmarena_text_style_control",
            "full coding math creative_writing if hard_6 expert multiturn long_user chinese "
            "spanish japanese",
        ),
    ),
    Source(
        "livebench", "LiveBench/livebench.github.io", "https://livebench.ai", "percent",
        {
            topic.lower().replace(" ", "_"): ("livebench_", f"{topic}/ALL")
            for topic in ("Reasoning", "Coding", "Agentic Coding", "Mathematics", "Data Analysis",
                          "Language", "IF")
        },
        chained=True,
    ),
    Source(
        "matrix", "anadim/llm-benchmark-matrix", "https://github.com/anadim/llm-benchmark-matrix",
        "percent",
        _benchmarks("mmlu_pro gpqa_diamond livecodebench math_500 aime_2025 ifeval "
                    "swe_bench_verified hle mmlu humaneval simpleqa arena_hard"),
    ),
    Source(
        "aiiq", "aiiq via Lore-Hex/trustedrouter-benchmarks",
        "https://github.com/Lore-Hex/trustedrouter-benchmarks", "linear",
        _categories("aiiq", "scicode gpqa-diamond humanitys-last-exam critpt ifbench "
                            "aa-omniscience terminal-bench-hard swebench-verified livecodebench "
                            "mathematical-reasoning-iq computer-use-iq reliability-iq"),
    ),
    Source(
        "arena_ai", "oolong-tea-2026/arena-ai-leaderboards",
        "https://github.com/oolong-tea-2026/arena-ai-leaderboards", "elo",
        _categories("arena_ai", "text code"),
    ),
    Source(
        "debate", "lechmazur/debate", "https://github.com/lechmazur/debate", "linear",
        _benchmarks("debate_bt"),
    ),
    Source(
        "lineage", "fairydreaming/lineage-bench", "https://github.com/fairydreaming/lineage-bench",
        "percent", _categories("lineage_bench", "size_8 size_64 size_128 size_192"),
    ),
)  # fmt: skip


def linear(scale: Scale, value: float) -> float:
    """A published value on a scale on which differences mean the same everywhere."""
    if scale == "elo":
        return value / _ELO_PER_LOG_ODDS
    if scale == "percent":
        kept = min(max(value, 0.0), 100.0)
        return math.log((kept + 1) / (101 - kept))
    return value


def published(scale: Scale, value: float) -> float:
    """The inverse of `linear`."""
    if scale == "elo":
        return value * _ELO_PER_LOG_ODDS
    if scale == "percent":
        return 102 / (1 + math.exp(-value)) - 1
    return value


def chained(cells: FloatArray) -> FloatArray:
    """Brings several releases of one topic onto the scale of the last: each cell is a release's
    level plus a model's value, by least squares. cells: (R, M) on a linear scale, NaN where
    missing, the last release last. Returns the values (M,), NaN for models in no release."""
    given = ~np.isnan(cells)
    filled = np.where(given, cells, 0.0)
    per_release, per_model = given.sum(axis=1), np.maximum(given.sum(axis=0), 1)
    level = np.zeros(cells.shape[0])
    for _ in range(_CHAIN_STEPS):
        value = (filled - np.where(given, level[:, None], 0.0)).sum(axis=0) / per_model
        rest = (filled - np.where(given, value[None, :], 0.0)).sum(axis=1)
        level = rest / np.maximum(per_release, 1)
        level -= level[-1]
    return np.where(given.any(axis=0), value, np.nan)
