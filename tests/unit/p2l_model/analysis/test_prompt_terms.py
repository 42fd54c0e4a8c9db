"""Terms of prompts: from the score head where a checkpoint has one, else from the coefficients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from p2l_model.analysis.prompt_terms import read_terms
from p2l_model.analysis.scored import PromptReader
from p2l_model.types import Conversation

PROMPTS = [Conversation((text,)) for text in ("What is 2 + 2?", "Write a haiku.", "Prove it.")]


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    """The bundled checkpoint, which has a score head."""
    return PromptReader.load("bundled")


def test_terms_are_the_score_heads(reader: PromptReader) -> None:
    model = next(name for name in reader.models if name in _scored(reader))
    done: list[int] = []
    found = read_terms(reader, PROMPTS, [model, "nobody-knows-it"], done.append)
    assert done == [3]
    heads = reader.checkpoint.heads
    scores = heads.expected_scores(reader.features(PROMPTS))
    assert scores is not None
    assert heads.score_bias is not None
    at = reader.models.index(model)
    apart = np.log(scores[:, at] / (1 - scores[:, at])) - heads.score_bias[at]
    for terms, expected in zip(found.terms, apart, strict=True):
        assert set(terms.deviation) == {model}
        assert terms.difficulty + terms.deviation[model] == pytest.approx(expected, abs=1e-6)
    assert found.hidden.shape == (3, heads.hidden(reader.features(PROMPTS)).shape[1])


def test_without_a_score_head_they_are_the_coefficients(reader: PromptReader) -> None:
    heads = replace(reader.checkpoint.heads, score_weight=None, score_bias=None)
    manifest = reader.checkpoint.manifest.model_copy(update={"scored": None})
    plain = replace(reader, checkpoint=replace(reader.checkpoint, heads=heads, manifest=manifest))
    model = reader.models[0]
    found = read_terms(plain, PROMPTS, [model])
    usual = np.asarray(manifest.marginal.coefficients)
    apart = reader.outputs(reader.features(PROMPTS)).coefficients[:, 0] - usual[0]
    for terms, expected in zip(found.terms, apart, strict=True):
        assert terms.difficulty + terms.deviation[model] == pytest.approx(expected)


def test_a_model_without_a_known_score_has_no_deviation(reader: PromptReader) -> None:
    first = next(name for name in reader.models if name in _scored(reader))
    known = [name == first for name in reader.checkpoint.manifest.models]
    manifest = reader.checkpoint.manifest.model_copy(update={"scored": known})
    one = replace(reader, checkpoint=replace(reader.checkpoint, manifest=manifest))
    other = next(name for name in reader.models if name != first)
    for terms in read_terms(one, PROMPTS, [first, other]).terms:
        assert set(terms.deviation) == {first}
        assert terms.deviation[first] == pytest.approx(0.0)


def _scored(reader: PromptReader) -> frozenset[str]:
    return reader.checkpoint.manifest.scored_models
