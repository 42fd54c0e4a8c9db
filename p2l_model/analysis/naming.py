"""Finds the words that set a kind of prompts apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from p2l_model.types import Conversation, FloatArray

N_WORDS: Final = 3
# Words are runs of letters; scripts without spaces are cut into pairs of characters.
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")
# English words that are in prompts of any kind: they set nothing apart for a reader.
_COMMON: Final = frozenset(
    re.findall(
        r"\w+",
        """
    about above after again all also although always among and another answer any anything are
    around ask because been before being below best between both but came can cannot come could
    did does doing done down during each either else every everything few find first following
    for from gave get getting give given gives goes going got had has have having her here hers
    him his how however into its itself just kind know known last least less let like made make
    makes many may maybe mean means might more most much must name need needs never new next not
    nothing now off often one ones only onto other others our ours out over own per perhaps
    please put question quite rather really said same saw say says see seen several shall she
    should since some something still such sure take taken tell tells than that the their theirs
    them then there therefore these they thing things think this those though through too under
    until upon use used uses using very want was way well went were what when where whether
    which while who whole whom whose why will with within without would yes yet you your yours
        """,
    )
)
_READ_CHARS: Final = 4000
_FEWEST_PROMPTS: Final = 2
_FEWEST_TIMES: Final = 2.0
_PRIOR: Final = 20.0


def distinguishing_words(
    groups: Sequence[Sequence[Conversation]], n_words: int = N_WORDS
) -> list[tuple[str, ...]]:
    """For each group, the words that are more frequent in its prompts than in the others'.

    They are ranked by the z-score of the log-odds that a prompt has the word, with all prompts as
    an informative Dirichlet prior (Monroe, Colaresi and Quinn, 2008), so that rare words do not win
    by chance. A word must be at least twice as common in the group as elsewhere, and none of the
    English words that are in prompts of any kind.
    """
    counts = [Counter(word for prompt in group for word in _words(prompt)) for group in groups]
    total: Counter[str] = sum(counts, Counter())
    # Sorted, so that names do not depend on the hash seed of a run.
    vocabulary = sorted(word for word, n in total.items() if n >= _FEWEST_PROMPTS)
    if not vocabulary:
        return [() for _ in groups]
    table = np.array([[count[word] for word in vocabulary] for count in counts], dtype=np.float64)
    scores = _z_scores(table, np.array([float(len(group)) for group in groups]))
    return [
        tuple(
            vocabulary[index]
            for index in np.argsort(-row, kind="stable")[:n_words]
            if row[index] > 0
        )
        for row in scores
    ]


def _z_scores(table: FloatArray, prompts: FloatArray) -> FloatArray:
    """z-scores from table (G, V), the prompts of each group with each word, and prompts (G,)."""
    share = table.sum(axis=0) / prompts.sum()
    with_word = table + _PRIOR * share
    without = prompts[:, None] - table + _PRIOR * (1 - share)
    odds = np.log(with_word) - np.log(without)
    others = table.sum(axis=0) - table
    other_with = others + _PRIOR * share
    other_without = (prompts.sum() - prompts)[:, None] - others + _PRIOR * (1 - share)
    spread = 1 / with_word + 1 / other_with
    lift = (table / prompts[:, None]) * (prompts.sum() - prompts)[:, None]
    scores: FloatArray = (odds - np.log(other_with) + np.log(other_without)) / np.sqrt(spread)
    return np.where(lift >= _FEWEST_TIMES * others, scores, 0.0)


def _words(prompt: Conversation) -> set[str]:
    text = " ".join(prompt.turns)[:_READ_CHARS].lower()
    unspaced = _UNSPACED.findall(text)
    pairs = {run[i : i + 2] for run in unspaced for i in range(len(run) - 1)}
    return {word for word in _WORD.findall(_UNSPACED.sub(" ", text)) if _tells(word)} | pairs


def _tells(word: str) -> bool:
    return len(word) > 2 and word not in _COMMON
