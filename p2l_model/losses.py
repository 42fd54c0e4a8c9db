"""The likelihoods of `preference.py` in torch, for training. A test checks that both agree."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from p2l_model.preference import BA_SHIFT, REPARAM_SHIFT, RK_BETA, RK_FLOOR, RK_SHIFT
from p2l_model.types import PreferenceFamily


def log_probabilities(
    family: PreferenceFamily, a: Tensor, b: Tensor, eta: Tensor, gamma: Tensor
) -> Tensor:
    """Log-probabilities (N, K) from coefficients a, b (N,), raw eta and gamma (N,)."""
    if family in (PreferenceFamily.BT, PreferenceFamily.BT_TIE):
        return torch.stack([logsigmoid(a - b), logsigmoid(b - a)], dim=-1)
    if family is PreferenceFamily.RK:
        return _rao_kupper(a - b, eta)
    if family is PreferenceFamily.RK_REPARAM:
        return _reparametrised(a, b, eta)
    if family is PreferenceFamily.GRK:
        return _grounded(a, b, eta, REPARAM_SHIFT)
    return _grounded(a - gamma, b - gamma, eta, BA_SHIFT)


def _rao_kupper(delta: Tensor, raw: Tensor) -> Tensor:
    eta = softplus(raw - RK_SHIFT, beta=RK_BETA, threshold=1e9).clamp(min=RK_FLOOR)
    log_a, log_b = logsigmoid(delta - eta), logsigmoid(-delta - eta)
    log_tie = 2 * eta + torch.log1p(-torch.exp(-2 * eta)) + log_a + log_b
    return torch.stack([log_a, log_b, log_tie], dim=-1)


def _reparametrised(a: Tensor, b: Tensor, raw: Tensor) -> Tensor:
    add, zero = torch.logaddexp, torch.zeros_like(a)
    log_tau = add(raw, torch.full_like(raw, math.log(REPARAM_SHIFT)))
    log_den_a = add(add(a, log_tau + b), zero)
    log_den_b = add(add(b, log_tau + a), zero)
    log_square = 2 * log_tau + torch.log1p(-torch.exp(-2 * log_tau))
    numerator = add(add(a + b + log_square, log_tau + add(a, b)), zero)
    log_tie = numerator - log_den_a - log_den_b
    return torch.stack([a - log_den_a, b - log_den_b, log_tie], dim=-1)


def _grounded(a: Tensor, b: Tensor, eta: Tensor, shift: float) -> Tensor:
    zero = torch.zeros_like(a)
    add = torch.logaddexp
    log_tau = add(eta, torch.full_like(eta, math.log(shift)))
    log_den_a = add(add(a, log_tau + b), zero)
    log_den_b = add(add(b, log_tau + a), zero)
    log_pair = add(a, b)
    log_den_bad = add(log_pair, zero)
    log_t_minus = log_tau + torch.log1p(-torch.exp(-log_tau))
    rest = add(add(log_tau, zero) + log_pair, torch.full_like(a, math.log(2.0)))
    log_tie = a + b + log_t_minus + rest - log_den_a - log_den_b - log_den_bad
    return torch.stack([a - log_den_a, b - log_den_b, log_tie, -log_den_bad], dim=-1)


def cross_entropy(log_probs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of -sum_k target_k log p_k: log_probs, targets (N, K), weights (N,)."""
    losses = -(targets * log_probs).sum(dim=-1)
    return (weights * losses).sum() / weights.sum()
