from __future__ import annotations

import numpy as np
import pytest

from p2l_model.errors import DataError
from p2l_model.local.layer import LocalLayer
from p2l_model.local.state import State
from p2l_model.local.terms import PromptTerms
from p2l_model.types import Outcome

NAMES = ("a", "b", "c")


def learnt() -> LocalLayer:
    uncertain = np.array([[0.4, 0.2, 0.0], [0.2, 0.4, 0.0], [0.0, 0.0, 0.4]])
    layer = LocalLayer.start(NAMES, np.array([0.5, 0.0, -0.5]), uncertain, n_axes=1)
    terms = PromptTerms(0.3, {"a": 0.1}, np.array([0.2]))
    for n in range(40):
        layer.learn_grade(NAMES[n % 3], float(n % 3 == 0), terms, "judge" if n % 2 else None)
    layer.learn_vote("a", "c", Outcome.MODEL_A)
    return layer


def test_a_stored_state_goes_on_bit_for_bit() -> None:
    layer = learnt()
    again = LocalLayer(State.from_bytes(layer.state.to_bytes()))
    assert again.state.to_bytes() == layer.state.to_bytes()
    for one in (layer, again):
        one.learn_grade("b", 0.7, PromptTerms(-0.2), "judge")
    assert again.state.to_bytes() == layer.state.to_bytes()
    assert again.state.version == layer.state.version
    mine, its = layer.predict(NAMES).p_good, again.predict(NAMES).p_good
    assert mine.tolist() == its.tolist()


@pytest.mark.parametrize("stored", [b"", b"nothing", b"PK\x03\x04 cut off"])
def test_what_is_no_state_is_an_error(stored: bytes) -> None:
    with pytest.raises(DataError, match="local layer"):
        State.from_bytes(stored)


def test_what_was_learnt_fades_towards_the_prior() -> None:
    layer = learnt()
    first = LocalLayer.start(
        NAMES, np.array([0.5, 0.0, -0.5]), layer.state.uncertain.copy(), n_axes=1
    )
    before = layer.predict(NAMES)
    layer.forget(days=60.0)
    faded = layer.predict(NAMES)
    assert np.all(faded.sd > before.sd - 1e-9)
    for _ in range(12):
        layer.forget(days=600.0)
    prior, gone = first.predict(NAMES), layer.predict(NAMES)
    assert gone.mean == pytest.approx(prior.mean, abs=0.02)
    assert gone.sd == pytest.approx(prior.sd, abs=0.02)


def test_forgetting_in_two_steps_is_forgetting_at_once() -> None:
    once, twice = learnt(), learnt()
    once.forget(days=30.0)
    twice.forget(days=15.0)
    twice.forget(days=15.0)
    assert twice.predict(NAMES).mean == pytest.approx(once.predict(NAMES).mean, abs=1e-5)


def test_a_model_that_joins_stands_by_its_relatives() -> None:
    layer = learnt()
    layer.join("sibling of a", 0.5, np.array([0.38, 0.2, 0.0, 0.4]))
    layer.join("stranger", 0.5, np.array([0.0, 0.0, 0.0, 0.0, 0.4]))
    found = layer.predict(["a", "sibling of a", "stranger"])
    assert found.mean[0] > found.mean[1] > found.mean[2]
    assert found.sd[0] < found.sd[1] < found.sd[2]
    layer.join("a", 9.0, np.zeros(6))
    assert len(layer.state.models) == 5
