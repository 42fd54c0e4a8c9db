"""The library: predicts leaderboards of prompts from a checkpoint.

    >>> from p2l_model import Predictor
    >>> p2l = Predictor.load("bundled")
    >>> board = p2l.leaderboard("Prove that the square root of 2 is irrational.")
    >>> board.top(1)[0].rank, len(board) == len(p2l.models)
    (1, True)

The probabilities of a vote's outcomes when two models meet on this prompt:

    >>> chances = board.probabilities(board.models[0], board.models[-1])
    >>> sorted(outcome.value for outcome in chances)
    ['model_a', 'model_b', 'tie', 'tie_bothbad']
    >>> round(sum(chances.values()), 6), chances["model_a"] > chances["model_b"]
    (1.0, True)

The leaderboard of many prompts, with 95% intervals over prompts, and each model's rank range:

    >>> whole = p2l.aggregate([f"What is {n} * {n + 3}?" for n in range(30)])
    >>> row = whole.rows[0]
    >>> row.ci95[0] <= row.coefficient <= row.ci95[1], whole.n_prompts
    (True, 30)
    >>> whole[row.model] == row
    True

A conversation is the list of the user's turns, oldest first. `to_json` returns the JSON that the
command line prints:

    >>> p2l.leaderboard(["Hello!", "And in French?"]).to_json()["object"]
    'leaderboard'
    >>> p2l.close()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Final, Self

import numpy as np

from p2l_model.analysis.aggregate import Accumulated, accumulate, summarise
from p2l_model.analysis.bootstrap import N_RESAMPLES
from p2l_model.analysis.leaderboard import Leaderboard, of_prompt
from p2l_model.analysis.prompts import PromptChunk
from p2l_model.analysis.scored import PromptReader
from p2l_model.types import Conversation, PromptLeaderboard
from p2l_model.words import said

_CHUNK: Final = 512

# A text, or the user's turns, oldest first.
Prompt = str | Sequence[str]


class Predictor:
    """A loaded checkpoint. To be used from one thread at a time, and as a context manager if the
    memory is to be freed."""

    def __init__(self, reader: PromptReader) -> None:
        self._reader = reader

    @classmethod
    def load(
        cls,
        checkpoint: str = "bundled",
        *,
        engine: str = "auto",
        models: Sequence[str] | None = None,
    ) -> Self:
        """Loads a checkpoint. checkpoint: a folder, or bundled. models: restricts the leaderboards.

        Raises CheckpointError, DataError, ExtraMissingError.
        """
        return cls(PromptReader.load(checkpoint, engine, models))

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models on its leaderboards."""
        return self._reader.models

    def leaderboard(self, prompt: Prompt) -> Leaderboard:
        """The leaderboard of one prompt. Raises ScoringError."""
        outputs = self._reader.outputs(self._reader.features([_conversation(prompt)]))
        manifest = self._reader.checkpoint.manifest
        marginal = manifest.marginal
        return of_prompt(
            PromptLeaderboard(
                family=manifest.family,
                models=self.models,
                coefficients=outputs.coefficients[0],
                eta=None if marginal.eta is None else float(outputs.eta[0]),
                gamma=None if marginal.gamma is None else float(outputs.gamma[0]),
            )
        )

    def prompt_leaderboard(self, prompt: Prompt) -> PromptLeaderboard:
        """The leaderboard that `router.decide` takes. Raises ScoringError.

        It has all models of the checkpoint, whatever `load` was restricted to, and the expected
        lengths of their answers where the checkpoint predicts them.
        """
        features = self._reader.features([_conversation(prompt)])[0]
        return self._reader.checkpoint.leaderboard(features.astype(np.float32))

    def aggregate(
        self, prompts: Iterable[Prompt], *, seed: int = 0, n_resamples: int = N_RESAMPLES
    ) -> Leaderboard:
        """The leaderboard of any number of prompts; each is read once, so that a generator will do.

        Raises DataError without prompts, ScoringError.
        """
        fresh = Accumulated(self._reader.family, self.models)
        found = accumulate(_chunks(prompts), self._reader, fresh, lambda done: None)  # noqa: ARG005
        return summarise(found, None, seed=seed, n_resamples=n_resamples).overall

    def close(self) -> None:
        """Frees the memory."""
        self._reader.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _conversation(prompt: Prompt) -> Conversation:
    turns = (prompt,) if isinstance(prompt, str) else prompt
    return Conversation(said((turn,) for turn in turns))


def _chunks(prompts: Iterable[Prompt]) -> Iterator[PromptChunk]:
    left = iter(prompts)
    while some := list(islice(left, _CHUNK)):
        rows: dict[Conversation, float] = {}
        for prompt in some:
            conversation = _conversation(prompt)
            rows[conversation] = rows.get(conversation, 0.0) + 1.0
        n = len(rows)
        weight = np.array(list(rows.values()))
        yield PromptChunk(tuple(rows), np.arange(n), ("",) * n, weight, len(some))
