"""In which categories each model is stronger or weaker than it is overall, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.analysis.bootstrap import Stack, refit
from p2l_model.analysis.soft_fit import Fitted, fit_sums
from p2l_model.analysis.sums import BlockSums
from p2l_model.errors import DataError, ExtraMissingError
from p2l_model.types import FloatArray, PreferenceFamily

N_RESAMPLES: Final = 300
FALSE_DISCOVERY_RATE: Final = 0.05
# With fewer blocks than this no spread can be estimated.
_FEWEST_BLOCKS: Final = 5
_LEVELS: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Strengths:
    """Deviations of M models in C categories.

    overall (M,), by_category (C, M): aggregated coefficients. level (C,): how much higher the
    models stand in the category on average (0 where only differences matter). deviation (C, M):
    by_category - overall - level, so that a category that is hard for all models is no model's
    weakness. ci95 (C, M, 2), p_value and q_value (C, M; by Benjamini and Hochberg over all cells):
    NaN in categories with too few prompts.
    """

    models: tuple[str, ...]
    categories: tuple[str, ...]
    n_prompts: tuple[int, ...]
    overall: FloatArray
    by_category: FloatArray
    level: FloatArray
    deviation: FloatArray
    ci95: FloatArray
    p_value: FloatArray
    q_value: FloatArray

    @property
    def significant(self) -> Any:
        """Which deviations (C, M) are significant, at a false discovery rate of 5%."""
        return self.q_value <= FALSE_DISCOVERY_RATE

    def to_json(self) -> dict[str, Any]:
        """Every cell; for each model the largest deviations come first and last."""
        return {
            "categories": [
                {"name": name, "n_prompts": n, "level": float(level)}
                for name, n, level in zip(self.categories, self.n_prompts, self.level, strict=True)
            ],
            "models": [self._model(index) for index in np.argsort(-self.overall, kind="stable")],
            "false_discovery_rate": FALSE_DISCOVERY_RATE,
        }

    def _model(self, index: int) -> dict[str, Any]:
        order = np.argsort(-self.deviation[:, index], kind="stable")
        return {
            "model": self.models[index],
            "coefficient": float(self.overall[index]),
            "cells": [self.cell(int(category), index) for category in order],
        }

    def cell(self, category: int, model: int) -> dict[str, Any]:
        """One deviation as JSON; None for unknown numbers."""
        interval = self.ci95[category, model]
        known = bool(np.isfinite(interval).all())
        return {
            "category": self.categories[category],
            "coefficient": float(self.by_category[category, model]),
            "deviation": float(self.deviation[category, model]),
            "ci95": interval.tolist() if known else None,
            "p_value": float(self.p_value[category, model]) if known else None,
            "q_value": float(self.q_value[category, model]) if known else None,
            "significant": bool(known and self.significant[category, model]),
        }


def strengths(
    models: Sequence[str],
    groups: Mapping[str, BlockSums],
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> Strengths:
    """Compares categories. groups: the sums of each, over the same blocks of prompts.

    Overall is all of them together. The bootstrap draws blocks once for all categories and the
    whole, which share prompts. Raises DataError with fewer than two categories, TrainingError,
    ExtraMissingError.
    """
    if len(groups) < 2:
        raise DataError("there is one category only: strengths compare at least two")
    names = tuple(sorted(groups))
    total = _total(groups)
    whole = fit_sums(total.family, total.total())
    fits = [fit_sums(total.family, groups[name].total()) for name in names]
    by_category = np.array([fit.coefficients for fit in fits])
    level, deviation = _relative(by_category, whole.coefficients)
    draws = _draws(groups, names, total, [whole, *fits], seed, n_resamples)  # (R, C, M)
    blocks = np.array([len(groups[name].blocks) for name in names])
    ci95, p_value = _spread(deviation, draws, blocks)
    return Strengths(
        models=tuple(models),
        categories=names,
        n_prompts=tuple(groups[name].total().n for name in names),
        overall=whole.coefficients,
        by_category=by_category,
        level=level,
        deviation=deviation,
        ci95=ci95,
        p_value=p_value,
        q_value=benjamini_hochberg(p_value),
    )


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """The smallest false discovery rate at which each test would be significant (same shape); NaN
    where p is NaN, which does not count as a test."""
    flat = p_values.ravel()
    known = np.flatnonzero(np.isfinite(flat))
    q_values = np.full(flat.size, np.nan)
    order = known[np.argsort(flat[known], kind="stable")]
    raised = flat[order] * order.size / np.arange(1, order.size + 1)
    q_values[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return q_values.reshape(p_values.shape)


def _total(groups: Mapping[str, BlockSums]) -> BlockSums:
    first = next(iter(groups.values()))
    total = BlockSums(first.family, first.n_models)
    for sums in groups.values():
        total.merge(sums)
    return total


def _relative(by_category: FloatArray, overall: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns level (..., C) and deviation (..., C, M)."""
    raw = by_category - overall[..., None, :]
    level = raw.mean(axis=-1)
    return level, raw - level[..., None]


def _draws(
    groups: Mapping[str, BlockSums],
    names: Sequence[str],
    total: BlockSums,
    fits: Sequence[Fitted],
    seed: int,
    n_resamples: int,
) -> FloatArray:
    """Deviations (R, C, M), NaN where a draw left a category without prompts."""
    stacks = [Stack(total), *(Stack(groups[name]) for name in names)]
    place = {block: index for index, block in enumerate(stacks[0].names)}
    columns = [np.array([place[block] for block in stack.names]) for stack in stacks]
    n = len(place)
    chance = np.random.default_rng(seed)
    draws = []
    for counts in chance.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64):
        boards = [
            _refitted(total.family, stack, counts[column], fit)
            for stack, column, fit in zip(stacks, columns, fits, strict=True)
        ]
        draws.append(_relative(np.array(boards[1:]), boards[0])[1])
    return np.array(draws)


def _refitted(
    family: PreferenceFamily, stack: Stack, counts: FloatArray, start: Fitted
) -> FloatArray:
    sums = stack.drawn(counts)
    if not sums.weight > 0:
        return np.full(start.coefficients.size, np.nan)
    return refit(family, sums, start)


def _spread(
    deviation: FloatArray, draws: FloatArray, blocks: FloatArray | Any
) -> tuple[FloatArray, FloatArray]:
    """Returns ci95 (C, M, 2) and p (C, M), from Student's t with the bootstrap's standard error and
    the category's number of blocks less one; NaN where there are too few blocks."""
    try:
        from scipy.special import stdtr, stdtrit
    except ImportError as error:
        raise ExtraMissingError("scipy", "analysis") from error
    ci95, p_value = np.full((*deviation.shape, 2), np.nan), np.full(deviation.shape, np.nan)
    for index in np.flatnonzero(blocks >= _FEWEST_BLOCKS):
        drawn = draws[np.isfinite(draws[:, index, 0]), index]
        freedom = float(blocks[index] - 1)
        # Multinomial draws of B blocks have (B - 1) / B of the variance.
        deviate = drawn.std(axis=0, ddof=1) * math.sqrt(blocks[index] / freedom)
        half = stdtrit(freedom, _LEVELS[1]) * deviate
        ci95[index] = np.stack([deviation[index] - half, deviation[index] + half], axis=-1)
        t = np.abs(deviation[index]) / np.maximum(deviate, 1e-300)
        p_value[index] = 2 * stdtr(freedom, -t)
    return ci95, p_value
