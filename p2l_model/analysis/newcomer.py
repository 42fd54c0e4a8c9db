"""Assesses a model before it has answered anything: its rank among the others, and the prompts on
which it would be chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.analysis.leaderboard import Leaderboard
from p2l_model.analysis.scored import PromptReader
from p2l_model.analysis.study import Corpus, StrengthsStudy
from p2l_model.errors import DataError
from p2l_model.types import FloatArray

_N_RESAMPLES: Final = 1000
_LEVELS: Final = (0.025, 0.975)
_NEIGHBOURS: Final = 2


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the prompts, with its 95% interval over prompts."""

    value: float
    ci95: tuple[float, float]
    n_prompts: int

    def to_json(self) -> dict[str, Any]:
        """The JSON that the command prints."""
        return {"share": self.value, "ci95": list(self.ci95), "n_prompts": self.n_prompts}


@dataclass(frozen=True, slots=True)
class Assessment:
    """The assessment of one model.

    chosen: the share of prompts on which it has the highest coefficient; by_category: the same in
    each category. displaces: the models that it takes those prompts from, with their shares.
    """

    model: str
    board: Leaderboard
    chosen: Share
    by_category: dict[str, Share]
    displaces: dict[str, float]
    study: StrengthsStudy

    def to_json(self, n_examples: int) -> dict[str, Any]:
        """The JSON that the command prints."""
        row = self.board[self.model]
        cells = {cell["category"]: cell for cell in self._cells()}
        words = {category.name: category for category in self.study.categories}
        return {
            "object": "assessment",
            "model": self.model,
            "family": self.board.family.value,
            "n_prompts": self.board.n_prompts,
            "n_models": len(self.board),
            "rank": row.rank,
            "rank_range": row.rank_range,
            "coefficient": row.coefficient,
            "ci95": row.ci95,
            "win_rate": row.win_rate,
            "neighbours": self._neighbours(),
            "chosen": self.chosen.to_json(),
            "displaces": self.displaces,
            "categories": [
                {
                    "category": name,
                    **share.to_json(),
                    "deviation": cells[name]["deviation"],
                    "deviation_ci95": cells[name]["ci95"],
                    "significant": cells[name]["significant"],
                    "words": list(words[name].words),
                    "examples": ["\n\n".join(c.turns) for c in words[name].typical[:n_examples]],
                }
                for name, share in sorted(self.by_category.items(), key=lambda item: -item[1].value)
            ],
        }

    def _cells(self) -> list[dict[str, Any]]:
        models = self.study.strengths.to_json()["models"]
        cells: list[dict[str, Any]] = next(m["cells"] for m in models if m["model"] == self.model)
        return cells

    def _neighbours(self) -> list[dict[str, Any]]:
        """The models directly above and below, with the probability of beating each where one
        wins."""
        place = self.board[self.model].rank - 1
        near = self.board.rows[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS + 1]
        own = self.board[self.model].coefficient
        return [
            {
                "model": row.model,
                "rank": row.rank,
                "beats": float(0.5 * (1.0 + np.tanh(0.5 * (own - row.coefficient)))),
            }
            for row in near
            if row.model != self.model
        ]


def assess(
    model: str, board: Leaderboard, corpus: Corpus, study: StrengthsStudy, reader: PromptReader,
    *, seed: int = 0,
) -> Assessment:  # fmt: skip
    """Assesses `model` on the corpus.

    board, study: of the prompts of the corpus, for the reader's models. Raises DataError where the
    model is not among them.
    """
    if model not in reader.models:
        raise DataError(f"{model} is not among the models: {', '.join(reader.models)}")
    own = reader.models.index(model)
    coefficients = reader.outputs(corpus.features).coefficients
    others = coefficients.copy()
    others[:, own] = -np.inf
    best_other = others.argmax(axis=1)
    wins = coefficients[:, own] > others[np.arange(best_other.size), best_other]
    weight = np.zeros(wins.size)
    np.add.at(weight, corpus.prompt, corpus.weight)
    chance = np.random.default_rng(seed)
    labels = np.array(study.labels, dtype=object)
    by_category = {}
    for name in study.strengths.categories:
        rows = np.flatnonzero(labels == name)
        prompts = corpus.prompt[rows]
        by_category[name] = _share(wins[prompts], corpus.weight[rows], chance)
    taken = np.bincount(best_other[wins], weights=weight[wins], minlength=len(reader.models))
    total = max(float(taken.sum()), 1e-300)
    displaces = {
        reader.models[index]: float(taken[index] / total)
        for index in np.argsort(-taken, kind="stable")
        if taken[index] > 0
    }
    chosen = _share(wins, weight, chance)
    return Assessment(model, board, chosen, by_category, displaces, study)


def _share(wins: NDArray[np.bool_], weight: FloatArray, chance: np.random.Generator) -> Share:
    n = wins.size
    counts = chance.multinomial(n, np.full(n, 1 / n), size=_N_RESAMPLES)
    drawn = (counts @ (weight * wins)) / np.maximum(counts @ weight, 1e-300)
    low, high = np.quantile(drawn, _LEVELS)
    value = float((weight * wins).sum() / weight.sum())
    return Share(value, (float(low), float(high)), n)
