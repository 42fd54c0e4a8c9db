"""Graded answers with their costs as arrays, for every model on every prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.data.model_names import canonical
from p2l_model.data.tables import Columns, numbers, read_columns, require, texts, turns
from p2l_model.errors import DataError
from p2l_model.types import Conversation, FloatArray
from server.offline.simulate.columns import of_model

# A model that answered a smaller share of the prompts is left out; then prompts that lack an answer
# are.
MIN_COVERAGE: Final = 0.95
CHARS_PER_TOKEN: Final = 4.0
_MANY: Final = 1e9


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Prices in USD per million tokens."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float

    def cost_usd(self, n_input: FloatArray, n_output: FloatArray) -> FloatArray:
        """The cost of requests in USD."""
        usd: FloatArray = n_input * self.input_usd_per_mtok + n_output * self.output_usd_per_mtok
        return usd / 1e6


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """A table of P prompts and M models. score, cost_usd: (P, M), NaN where unknown; input_tokens,
    category: (P,). notes: what was left out and why."""

    conversations: tuple[Conversation, ...] = field(repr=False)
    models: tuple[str, ...]
    score: FloatArray
    cost_usd: FloatArray
    input_tokens: FloatArray
    category: NDArray[np.str_]
    notes: tuple[str, ...] = ()

    def of_models(self, names: Sequence[str], note: str) -> ScoreTable:
        """The table with only those models, in that order. note: the reason for leaving out the
        others."""
        kept = [self.models.index(name) for name in names]
        lost = [name for name in self.models if name not in set(names)]
        notes = (*self.notes, f"{note}: {', '.join(lost)}") if lost else self.notes
        return ScoreTable(
            self.conversations,
            tuple(names),
            self.score[:, kept],
            self.cost_usd[:, kept],
            self.input_tokens,
            self.category,
            notes,
        )

    def complete(self, coverage: float = MIN_COVERAGE) -> ScoreTable:
        """The table with every model graded and priced on every prompt. coverage: the share of the
        prompts that a model must exceed to stay. Raises DataError where nothing is left."""
        known = np.isfinite(self.score) & np.isfinite(self.cost_usd)
        well = [m for m, c in zip(self.models, known.mean(axis=0), strict=True) if c > coverage]
        if len(well) < 2:
            raise DataError("fewer than two models have scores and costs on nearly all prompts")
        table = self.of_models(well, f"without scores or costs on {coverage:.0%} of the prompts")
        whole = (np.isfinite(table.score) & np.isfinite(table.cost_usd)).all(axis=1)
        if not whole.any():
            raise DataError("no prompt has scores and costs of all models: name fewer models")
        lacking = "prompt lacks a model" if int((~whole).sum()) == 1 else "prompts lack a model"
        return table.of_prompts(np.asarray(whole), lacking)

    def of_prompts(self, keep: NDArray[np.bool_], note: str) -> ScoreTable:
        """The table with only some prompts. keep (P,). note: why the others are left out."""
        lost = int((~keep).sum())
        notes = (*self.notes, f"{lost} {note}") if lost else self.notes
        chosen = zip(self.conversations, keep.tolist(), strict=True)
        return ScoreTable(
            tuple(c for c, kept in chosen if kept),
            self.models,
            self.score[keep],
            self.cost_usd[keep],
            self.input_tokens[keep],
            self.category[keep],
            notes,
        )


def load_scores(
    paths: Sequence[Path],
    prices: Mapping[str, TokenPrices],
    score_range: tuple[float, float] = (0.0, 1.0),
) -> ScoreTable:
    """Loads graded answers. The same prompt and the same model are identified across files; the
    last row counts.

    Costs: the column cost_usd where there is one, else prices times prompt_tokens and output_tokens
    (a quarter of the characters where those are not given). Raises DataError.
    """
    rows: dict[tuple[str, ...], dict[str, tuple[float, float]]] = {}
    about: dict[tuple[str, ...], tuple[float, str]] = {}
    for path in paths:
        _read(path, prices, score_range, rows, about)
    prompts = list(rows)
    models = sorted({model for row in rows.values() for model in row})
    numbers_of = np.full((len(prompts), len(models), 2), np.nan)
    for p, prompt in enumerate(prompts):
        for m, model in enumerate(models):
            numbers_of[p, m] = rows[prompt].get(model, (np.nan, np.nan))
    return ScoreTable(
        tuple(Conversation(prompt) for prompt in prompts),
        tuple(models),
        numbers_of[:, :, 0],
        numbers_of[:, :, 1],
        np.array([about[prompt][0] for prompt in prompts]),
        np.array([about[prompt][1] for prompt in prompts]),
    )


def load_prices(path: Path) -> dict[str, TokenPrices]:
    """Loads prices by canonical model name. Raises DataError."""
    columns = read_columns(path)
    names = ("model", "input_usd_per_mtok", "output_usd_per_mtok")
    require(columns, names, path)
    dear = [numbers(columns, name, path, 0.0, _MANY) for name in names[1:]]
    found: dict[str, TokenPrices] = {}
    for name, n_input, n_output in zip(columns["model"], *dear, strict=True):
        # Hosts of the same weights are one model here: the first price counts.
        found.setdefault(canonical(str(name)), TokenPrices(n_input, n_output))
        found.setdefault(str(name), TokenPrices(n_input, n_output))
    return found


def _read(
    path: Path,
    prices: Mapping[str, TokenPrices],
    score_range: tuple[float, float],
    rows: dict[tuple[str, ...], dict[str, tuple[float, float]]],
    about: dict[tuple[str, ...], tuple[float, str]],
) -> None:
    columns = read_columns(path)
    require(columns, ("prompt", "model", "score"), path)
    low, high = score_range
    scores = [(s - low) / (high - low) for s in numbers(columns, "score", path, low, high)]
    categories = texts(columns, "category", "")
    n_input, costs = _costs(columns, path, prices)
    for row, value in enumerate(columns["prompt"]):
        prompt = turns(value, path, row + 1)
        model = canonical(str(columns["model"][row]))
        rows.setdefault(prompt, {})[model] = (scores[row], costs[row])
        about.setdefault(prompt, (n_input[row], categories[row]))


def _costs(
    columns: Columns, path: Path, prices: Mapping[str, TokenPrices]
) -> tuple[list[float], list[float]]:
    """Returns (input tokens, USD) for each row, NaN where unknown."""
    given = numbers(columns, "cost_usd", path, 0.0, _MANY)
    n_input = numbers(columns, "prompt_tokens", path, 0.0, _MANY)
    n_output = numbers(columns, "output_tokens", path, 0.0, _MANY)
    chars = numbers(columns, "output_chars", path, 0.0, _MANY)
    costs = []
    for row, value in enumerate(columns["prompt"]):
        if np.isnan(n_input[row]):
            n_input[row] = len(str(value)) / CHARS_PER_TOKEN
        if np.isnan(n_output[row]):
            n_output[row] = chars[row] / CHARS_PER_TOKEN
        name = str(columns["model"][row])
        # Hosts of the same weights have one price here, as in the expected costs.
        price = of_model(prices, canonical(name)) or of_model(prices, name)
        if not np.isnan(given[row]) or price is None:
            costs.append(given[row])
        else:
            costs.append(float(price.cost_usd(np.array(n_input[row]), np.array(n_output[row]))))
    return n_input, costs
