"""The families' formulas: numpy against exact arithmetic, torch against numpy."""

from __future__ import annotations

from decimal import Decimal, getcontext
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2l_model import losses
from p2l_model.preference import binary_log_odds, log_probabilities, outcomes
from p2l_model.types import PreferenceFamily

finite = st.floats(-500, 500)


def exact_grounded(a: float, b: float, eta: float) -> list[Decimal]:
    """The formulas of docs/theory.md, section 1, in 1,200 digits; a tie is what is left."""
    getcontext().prec = 1200
    x, y = Decimal(a).exp(), Decimal(b).exp()
    tau = Decimal(eta).exp() + Decimal("1.000001")
    win, loss = x / (x + tau * y + 1), y / (y + tau * x + 1)
    bad = 1 / (1 + x + y)
    return [win, loss, 1 - win - loss - bad, bad]


@pytest.mark.parametrize(
    ("a", "b", "eta"),
    [(0.0, 0.0, 0.0), (1.5, -0.7, 0.3), (40.0, -40.0, -5.0), (-200.0, 190.0, 3.0), (9, 9, -9)],
)
def test_grounded_against_exact_arithmetic(a: float, b: float, eta: float) -> None:
    logs = log_probabilities(PreferenceFamily.GRK, a, b, eta)
    for mine, theirs in zip(logs, exact_grounded(a, b, eta), strict=True):
        assert mine == pytest.approx(float(theirs.ln()), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("family", list(PreferenceFamily))
@given(a=finite, b=finite, eta=st.floats(-30, 30))
def test_probabilities_sum_to_one_however_extreme(
    family: PreferenceFamily, a: float, b: float, eta: float
) -> None:
    logs = log_probabilities(family, a, b, eta)
    assert logs.shape == (len(outcomes(family)),)
    assert np.all(np.isfinite(logs))
    assert np.exp(logs).sum() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("family", list(PreferenceFamily))
@given(a=finite, b=finite, eta=st.floats(-30, 30), gamma=st.floats(-30, 30))
def test_torch_says_the_same(
    family: PreferenceFamily, a: float, b: float, eta: float, gamma: float
) -> None:
    numbers = [torch.tensor([value], dtype=torch.float64) for value in (a, b, eta, gamma)]
    theirs = losses.log_probabilities(family, *numbers).numpy()[0]
    ours = log_probabilities(family, a, b, eta, gamma)
    assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("family", list(PreferenceFamily))
def test_gradients_against_finite_differences(family: PreferenceFamily) -> None:
    chance = torch.Generator().manual_seed(0)
    shape = {"generator": chance, "dtype": torch.float64}
    a, b, eta, gamma = (torch.randn(8, **shape) for _ in range(4))
    inputs = [a.requires_grad_(), b.requires_grad_()]
    inputs.append(eta.requires_grad_(len(outcomes(family)) > 2))
    inputs.append(gamma.requires_grad_(family is PreferenceFamily.BA))
    assert torch.autograd.gradcheck(partial(losses.log_probabilities, family), inputs)


def test_swapping_sides_swaps_outcomes() -> None:
    one = log_probabilities(PreferenceFamily.GRK, 1.0, -0.5, 0.2)
    two = log_probabilities(PreferenceFamily.GRK, -0.5, 1.0, 0.2)
    assert one[[1, 0, 2, 3]] == pytest.approx(two)
    assert binary_log_odds(PreferenceFamily.BT, 1.0, -0.5) == pytest.approx(1.5)


def test_ba_with_gamma_zero_is_grk_but_for_tau() -> None:
    """tau = exp(eta) + 1.02 against exp(eta) + 1.000001."""
    eta = np.log(np.exp(0.3) + 1.02 - 1.000001)
    ours = log_probabilities(PreferenceFamily.BA, 1.0, -0.5, 0.3, 0.0)
    assert ours == pytest.approx(log_probabilities(PreferenceFamily.GRK, 1.0, -0.5, eta))


def test_ba_against_exact_arithmetic() -> None:
    getcontext().prec = 400
    a, b, eta, gamma = Decimal("1.5"), Decimal(-40), Decimal("0.3"), Decimal("-0.7")
    x, y, level, tau = a.exp(), b.exp(), gamma.exp(), eta.exp() + Decimal("1.02")
    win, loss = x / (x + tau * y + level), y / (y + tau * x + level)
    bad = level / (level + x + y)
    exact = [win, loss, 1 - win - loss - bad, bad]
    logs = log_probabilities(PreferenceFamily.BA, 1.5, -40.0, 0.3, -0.7)
    assert logs == pytest.approx([float(p.ln()) for p in exact], rel=1e-9)


def exact_rao_kupper(a: float, b: float, raw: float) -> list[Decimal]:
    getcontext().prec = 400
    softplus = (1 + (Decimal("0.1") * (Decimal(raw) - Decimal("22.5"))).exp()).ln() * 10
    eta = max(softplus, Decimal("0.02"))
    win = 1 / (1 + (eta - Decimal(a) + Decimal(b)).exp())
    loss = 1 / (1 + (eta + Decimal(a) - Decimal(b)).exp())
    return [win, loss, 1 - win - loss]


def exact_reparametrised(a: float, b: float, raw: float) -> list[Decimal]:
    getcontext().prec = 400
    x, y = Decimal(a).exp(), Decimal(b).exp()
    tau = Decimal(raw).exp() + Decimal("1.000001")
    win, loss = x / (x + tau * y + 1), y / (y + tau * x + 1)
    return [win, loss, 1 - win - loss]


@pytest.mark.parametrize(
    ("a", "b", "raw"), [(0.0, 0.0, 0.0), (1.5, -0.7, 30.0), (-60.0, 50.0, -80.0), (9, 9, 5)]
)
def test_rao_kupper_against_exact_arithmetic(a: float, b: float, raw: float) -> None:
    for family, exact in (
        (PreferenceFamily.RK, exact_rao_kupper),
        (PreferenceFamily.RK_REPARAM, exact_reparametrised),
    ):
        logs = log_probabilities(family, a, b, raw)
        expected = [float(p.ln()) for p in exact(a, b, raw)]
        assert logs == pytest.approx(expected, rel=1e-9, abs=1e-12)
