"""What a checkpoint says of many prompts, in the terms of the local layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.local.terms import PromptAxes, PromptTerms, TermReader, columns_of
from p2l_model.types import Conversation, FloatArray

_BATCH: Final = 64


class Read(NamedTuple):
    """Of P prompts: their terms, and the vectors (P, H) that the checkpoint's heads read."""

    terms: tuple[PromptTerms, ...]
    hidden: FloatArray


def read_terms(
    reader: PromptReader,
    conversations: Sequence[Conversation],
    names: Sequence[str],
    on_progress: Callable[[int], None] = lambda _done: None,
) -> Read:
    """Reads prompts for a layer that learns from graded answers. names: of the layer's models.

    The terms are those of the score head, where there is one: a vote says who is better, and less
    well than a grade whether an answer is good. Its usual values are those at a hidden vector of
    zero; where this is not the mean of the traffic, the layer learns the difference as part of its
    level and of its models' effects. Without a score head the terms are those of the coefficients.
    Axes are those in which these prompts differ. Raises ScoringError.
    """
    board = _board(reader)
    boards: list[FloatArray] = []
    hidden = []
    for first in range(0, len(conversations), _BATCH):
        features = reader.features(conversations[first : first + _BATCH])
        hidden.append(reader.checkpoint.heads.hidden(features))
        boards += list(board.of(features))
        on_progress(len(boards))
    axes = PromptAxes.of(np.array(boards), len(names))
    read = TermReader(board.usual, columns_of(names, board.models), axes).read
    return Read(tuple(map(read, boards)), np.concatenate(hidden))


class _Board(NamedTuple):
    """Leaderboards of K models. usual (K,): for no prompt in particular. of: features (P, F) to the
    prompts' own (P, K), both in log-odds."""

    models: tuple[str, ...]
    usual: FloatArray
    of: Callable[[FloatArray], FloatArray]


def _board(reader: PromptReader) -> _Board:
    """That of the score head, where there is one."""
    heads, manifest = reader.checkpoint.heads, reader.checkpoint.manifest
    weight, bias = heads.score_weight, heads.score_bias
    scored = [name in manifest.scored_models for name in reader.models]
    if weight is None or bias is None or not any(scored):
        usual = np.asarray(manifest.marginal.coefficients)[reader.columns]
        return _Board(reader.models, usual, lambda x: reader.outputs(x).coefficients)
    at = reader.columns[scored]
    rows, usual = weight[at], bias[at]
    models = tuple(manifest.models[index] for index in at)
    return _Board(models, usual, lambda x: heads.hidden(x) @ rows.T + usual)
