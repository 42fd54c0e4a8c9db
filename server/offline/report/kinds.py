"""Kinds of prompts, where the files name none: prompts that the checkpoint reads as alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.analysis.clusters import find_clusters
from p2l_model.analysis.naming import distinguishing_words
from p2l_model.errors import DataError, ExtraMissingError
from p2l_model.types import Conversation, FloatArray

_MOST: Final = 6
_PROMPTS_PER_KIND: Final = 25


def kinds_of(
    category: NDArray[np.str_], conversations: Sequence[Conversation], hidden: FloatArray
) -> NDArray[np.str_]:
    """The kind (P,) of each prompt: its category where there are several, else a cluster of the
    features hidden (P, H), named by the words that set it apart. All are alike, with an empty name,
    where there are too few prompts or no scipy."""
    if len(set(category.tolist())) > 1:
        return category
    n_kinds = min(_MOST, len(conversations) // _PROMPTS_PER_KIND)
    try:
        labels = find_clusters(hidden, n_kinds).labels
    except (DataError, ExtraMissingError):
        return np.full(len(conversations), "")
    groups = [
        [one for one, label in zip(conversations, labels.tolist(), strict=True) if label == k]
        for k in range(n_kinds)
    ]
    found = [", ".join(words) for words in distinguishing_words(groups)]
    names = [f"{k}: {said}" if said else f"{k}" for k, said in enumerate(found, 1)]
    return np.array(names)[labels]
