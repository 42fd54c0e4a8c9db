"""The whole `strengths` command: prompts are read, put into categories, aggregated and compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.analysis.aggregate import N_BLOCKS, OnRows
from p2l_model.analysis.bootstrap import estimate
from p2l_model.analysis.clusters import find_clusters
from p2l_model.analysis.leaderboard import Leaderboard, of_estimate
from p2l_model.analysis.naming import distinguishing_words
from p2l_model.analysis.prompts import PromptChunk, block_of
from p2l_model.analysis.scored import PromptReader
from p2l_model.analysis.strengths import N_RESAMPLES, Strengths, strengths
from p2l_model.analysis.sums import BlockSums
from p2l_model.errors import DataError
from p2l_model.types import Conversation, FloatArray, IntArray

UNLABELLED: Final = "(no category)"
_MOST_KINDS: Final = 8
_PROMPTS_PER_KIND: Final = 15


@dataclass(frozen=True, slots=True)
class Corpus:
    """P distinct prompts with features (P, F), and R rows, each a prompt in a category: prompt (R,)
    as an index, category and weight (R,)."""

    conversations: tuple[Conversation, ...]
    features: FloatArray
    prompt: IntArray
    category: tuple[str, ...]
    weight: FloatArray


@dataclass(frozen=True, slots=True)
class Category:
    """A category. words: those that set it apart. typical: prompts, the nearest to its centre
    first."""

    name: str
    words: tuple[str, ...]
    typical: tuple[Conversation, ...]


@dataclass(frozen=True, slots=True)
class StrengthsStudy:
    """The result of the command.

    categories: in the order of `strengths`. adjusted_rand: of categories found by clustering, one
    number per seed (see `Clusters`); None where the categories were given. labels: the category of
    each row of the corpus.
    """

    strengths: Strengths
    categories: tuple[Category, ...]
    adjusted_rand: tuple[float, ...] | None
    labels: tuple[str, ...] = ()

    def to_json(self, n_examples: int) -> dict[str, Any]:
        """The JSON that the command prints."""
        found = self.strengths.to_json()
        for row, category in zip(found["categories"], self.categories, strict=True):
            row["words"] = list(category.words)
            row["examples"] = ["\n\n".join(c.turns) for c in category.typical[:n_examples]]
        rand = self.adjusted_rand
        stability = None
        if rand is not None:
            stability = {"adjusted_rand_index": float(np.mean(rand)), "by_seed": list(rand)}
        return {"object": "strengths", **found, "stability": stability}


def read_corpus(chunks: Iterable[PromptChunk], reader: PromptReader, on_rows: OnRows) -> Corpus:
    """Reads the prompts; each distinct one is scored once. Raises DataError, ScoringError."""
    index: dict[Conversation, int] = {}
    features: list[FloatArray] = []
    rows: dict[tuple[int, str], float] = {}
    n_rows = 0
    for chunk in chunks:
        fresh = [c for c in chunk.conversations if c not in index]
        index |= {conversation: len(index) + i for i, conversation in enumerate(fresh)}
        if fresh:
            features.append(reader.features(fresh))
        for place, group, weight in zip(chunk.prompt, chunk.group, chunk.weight, strict=True):
            key = (index[chunk.conversations[place]], group)
            rows[key] = rows.get(key, 0.0) + float(weight)
        n_rows += chunk.n_rows
        on_rows(n_rows)
    if not features:
        raise DataError("there are no prompts")
    return Corpus(
        tuple(index),
        np.concatenate(features),
        np.array([prompt for prompt, _ in rows], dtype=np.int64),
        tuple(category for _, category in rows),
        np.array(list(rows.values())),
    )


def study_given(
    corpus: Corpus, reader: PromptReader, *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> StrengthsStudy:
    """The study of the categories that the rows name. Raises DataError."""
    labels = tuple(name or UNLABELLED for name in corpus.category)
    named = np.array(labels, dtype=object)
    hidden = reader.checkpoint.heads.hidden(corpus.features)
    members = {name: np.unique(corpus.prompt[named == name]) for name in sorted(set(labels))}
    ordered = [_by_typicality(hidden, prompts) for prompts in members.values()]
    found = _strengths(corpus, labels, reader, seed, n_resamples)
    texts = [[corpus.conversations[index] for index in prompts] for prompts in ordered]
    words = distinguishing_words(texts)
    categories = (
        Category(name, own, tuple(typical))
        for name, own, typical in zip(members, words, texts, strict=True)
    )
    return StrengthsStudy(found, tuple(categories), None, labels)


def study_found(
    corpus: Corpus,
    reader: PromptReader,
    n_clusters: int,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> StrengthsStudy:
    """The study of categories found by clustering and named by their words. Raises DataError."""
    clusters = find_clusters(reader.checkpoint.heads.hidden(corpus.features), n_clusters, seed)
    texts = [[corpus.conversations[index] for index in typical] for typical in clusters.typical]
    words = distinguishing_words(texts)
    names = [f"{place}. {', '.join(own) or 'unnamed'}" for place, own in enumerate(words, 1)]
    # With ten or more clusters, plain numbers would not sort as the clusters do.
    names = [
        name.rjust(len(name) + (place < 10 <= len(names))) for place, name in enumerate(names, 1)
    ]
    labels = tuple(names[clusters.labels[prompt]] for prompt in corpus.prompt)
    found = _strengths(corpus, labels, reader, seed, n_resamples)
    categories = tuple(
        Category(name, own, tuple(typical))
        for name, own, typical in zip(names, words, texts, strict=True)
    )
    return StrengthsStudy(found, categories, clusters.adjusted_rand, labels)


def default_clusters(corpus: Corpus) -> int:
    """The number of clusters where none is asked for."""
    return max(2, min(_MOST_KINDS, len(corpus.conversations) // _PROMPTS_PER_KIND))


def overall(
    corpus: Corpus, reader: PromptReader, *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> Leaderboard:
    """The leaderboard of all rows."""
    sums = BlockSums(reader.family, len(reader.models))
    outputs = reader.outputs(corpus.features).rows(corpus.prompt)
    sums.add(outputs, corpus.weight, block_of(corpus.conversations, N_BLOCKS)[corpus.prompt])
    found = estimate(sums, seed=seed, n_resamples=n_resamples)
    return of_estimate(reader.family, reader.models, found)


def _strengths(
    corpus: Corpus, labels: Sequence[str], reader: PromptReader, seed: int, n_resamples: int
) -> Strengths:
    outputs = reader.outputs(corpus.features)
    block = block_of(corpus.conversations, N_BLOCKS)
    named = np.array(labels, dtype=object)
    groups = {}
    for name in dict.fromkeys(labels):
        rows = np.flatnonzero(named == name)
        prompts = corpus.prompt[rows]
        groups[name] = BlockSums(reader.family, len(reader.models))
        groups[name].add(outputs.rows(prompts), corpus.weight[rows], block[prompts])
    return strengths(reader.models, groups, seed=seed, n_resamples=n_resamples)


def _by_typicality(hidden: FloatArray, prompts: IntArray) -> IntArray:
    """The prompts, the nearest to their own mean first."""
    own = hidden[prompts]
    distance = ((own - own.mean(axis=0)) ** 2).sum(axis=1)
    return np.asarray(prompts[np.argsort(distance, kind="stable")], dtype=np.int64)
