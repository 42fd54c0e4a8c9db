"""A user's own leaderboards: the model's predictions, shifted by the user's votes.

For user u and prompt z the coefficients are theta(z) + d_u, raw eta is eta(z) + e_u, with

    d_u ~ N(d, tau^2 ((1 - rho) I + rho C))        e_u ~ N(e, tau_eta^2)

Here d and e are the model's errors for all these users alike, which are no one's taste, and C is
the correlation of the models' coefficients over prompts: tastes vary along the same directions
(one of them is the level of all models, that is, how harsh a judge is). tau, rho and tau_eta are
estimated from all users' votes (empirical Bayes, with Laplace's approximation of the evidence), so
that a user with few votes stays near the population, and all do where users do not differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import IntArray
from p2l_model.errors import DataError
from p2l_model.preference import log_probabilities
from p2l_model.types import FloatArray, PreferenceFamily

_TAUS: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2)
_RHOS: Final = (0.0, 0.5, 0.9)
# rk's raw eta is damped tenfold (`preference`), and so are its users' shifts.
_RK_SCALE: Final = 10.0
_ROUNDS: Final = 3
# The start of the search for tau, rho and tau_eta.
_START: Final = (0.3, 0.5, 0.3)
_MAX_STEPS: Final = 30
_TOLERANCE: Final = 1e-6
_STEP: Final = 1e-4  # of the central differences
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class UserVotes:
    """N votes of one user, with the model's predictions for their prompts.

    prompt (N,): equal for votes on the same prompt. a, b (N,): indices of models. coef_a, coef_b,
    eta, gamma (N,): as predicted. target (N, K): over `outcomes(family)`. weight (N,): votes on one
    prompt are not independent and should together weigh about one (`targets.balanced`).
    """

    prompt: IntArray
    a: IntArray
    b: IntArray
    coef_a: FloatArray
    coef_b: FloatArray
    eta: FloatArray
    gamma: FloatArray
    target: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return int(self.a.size)

    def moved(self, by: FloatArray) -> UserVotes:
        """The same votes, with coefficients and eta raised by (M + 1,)."""
        return replace(
            self,
            coef_a=self.coef_a + by[self.a],
            coef_b=self.coef_b + by[self.b],
            eta=self.eta + by[-1],
        )

    def where(self, keep: IntArray | FloatArray) -> UserVotes:
        """The votes for which keep (N,) is true."""
        return UserVotes(*(getattr(self, name)[keep] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Taste:
    """A user's deviation from the model.

    shift (M,): added to the coefficients; eta: added to the raw tie parameter; variance (M,): of
    the shift; n_votes: how many votes it was estimated from.
    """

    shift: FloatArray
    eta: float
    variance: FloatArray
    n_votes: int

    def applied(self, outputs: HeadOutputs) -> HeadOutputs:
        """The user's own leaderboards of P prompts."""
        return replace(
            outputs, coefficients=outputs.coefficients + self.shift, eta=outputs.eta + self.eta
        )


@dataclass(frozen=True, slots=True)
class TastePrior:
    """How much users differ.

    covariance (M, M) of the shift and eta_variance of eta's shift, both around common (M + 1,), the
    shift and eta that all users share.
    """

    family: PreferenceFamily
    covariance: FloatArray
    eta_variance: float
    common: FloatArray
    tau: float = 0.0
    rho: float = 0.0

    def taste(self, votes: UserVotes) -> Taste:
        """A user's posterior mode and its variance (Laplace). Without votes: the population's
        shift."""
        own = _posterior(self, votes.moved(self.common))
        return replace(own, shift=own.shift + self.common[:-1], eta=own.eta + self.common[-1])


def fit_prior(
    family: PreferenceFamily, users: Sequence[UserVotes], together: FloatArray
) -> TastePrior:
    """Estimates the prior. together (M, M): `coefficient_correlation` of a sample of prompts.

    Raises DataError where fewer than two users have votes.
    """
    voting = [votes for votes in users if len(votes) > 0]
    if len(voting) < 2:
        raise DataError("how people differ can be learnt from two users with votes at least")
    everyone = joined(voting)
    common = _posterior(_estimated(family, together, [everyone]), everyone)
    shift = np.append(common.shift, common.eta)
    found = _estimated(family, together, [votes.moved(shift) for votes in voting])
    return replace(found, common=shift)


def fit_alone(family: PreferenceFamily, votes: UserVotes, together: FloatArray) -> TastePrior:
    """The prior where there is a single user: every deviation from the model counts as the user's,
    since what users share is unknown. together: as in `fit_prior`."""
    return _estimated(family, together, [votes])


def _estimated(
    family: PreferenceFamily, together: FloatArray, users: Sequence[UserVotes]
) -> TastePrior:
    """The prior with a common shift of zero."""
    found = _prior(family, together, *_START)
    for _ in range(_ROUNDS):
        slopes, curves = _quadratics(found, users)
        found = _likeliest(found, together, slopes, curves)
    return found


def joined(users: Sequence[UserVotes]) -> UserVotes:
    """The votes of all users as those of one."""
    names = UserVotes.__slots__
    return UserVotes(*(np.concatenate([getattr(u, name) for u in users]) for name in names))


def coefficient_correlation(outputs: HeadOutputs) -> FloatArray:
    """The correlation (M, M) over P prompts; a model whose coefficient never moves correlates with
    no other."""
    centred = outputs.coefficients - outputs.coefficients.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    standard = centred / np.where(spread > _TINY, spread, 1.0)
    together: FloatArray = standard.T @ standard / max(centred.shape[0], 1)
    np.fill_diagonal(together, 1.0)
    return together


def log_losses(family: PreferenceFamily, votes: UserVotes, taste: Taste) -> FloatArray:
    """The cross-entropy (N,) of each vote under the user's own leaderboards."""
    x = np.append(taste.shift, taste.eta)
    losses: FloatArray = -(votes.target * _logs(family, votes, x)).sum(axis=1)
    return losses


def _quadratics(prior: TastePrior, users: Sequence[UserVotes]) -> tuple[FloatArray, FloatArray]:
    """Quadratic approximations of each user's log-likelihood around the mode, slope . x - x . curve
    . x / 2 for any x: slopes (U, M + 1), curves (U, M + 1, M + 1)."""
    slopes, curves = [], []
    for votes in users:
        taste = _posterior(prior, votes)
        at = np.append(taste.shift, taste.eta)
        _, slope, curve = _at(prior.family, votes, at)
        slopes.append(slope + curve @ at)
        curves.append(curve)
    return np.array(slopes), np.array(curves)


def _likeliest(
    start: TastePrior, together: FloatArray, slopes: FloatArray, curves: FloatArray
) -> TastePrior:
    """Searches the grids of tau, of eta's tau and of rho in turn."""
    best, point = start, [start.tau, start.rho, float(np.sqrt(start.eta_variance))]
    highest = _evidence(best, slopes, curves)
    for place, grid in ((0, _TAUS), (2, _eta_grid(start.family)), (1, _RHOS), (0, _TAUS)):
        for value in grid:
            tried = [*point[:place], value, *point[place + 1 :]]
            prior = _prior(start.family, together, *tried)
            found = _evidence(prior, slopes, curves)
            if found > highest + _TINY:
                best, highest = prior, found
        point = [best.tau, best.rho, float(np.sqrt(best.eta_variance))]
    return best


def _evidence(prior: TastePrior, slopes: FloatArray, curves: FloatArray) -> float:
    """The logarithm of the likelihood's mean over the prior, for all users, up to a constant."""
    root = _root(prior)
    slope = slopes @ root  # (U, D), in whitened coordinates
    precision = root.T @ curves @ root + np.eye(root.shape[0])
    _, log_det = np.linalg.slogdet(precision)
    fit = (slope * np.linalg.solve(precision, slope[..., None])[..., 0]).sum(axis=1)
    return float((0.5 * fit - 0.5 * log_det).sum())


def _eta_grid(family: PreferenceFamily) -> tuple[float, ...]:
    if family in (PreferenceFamily.BT, PreferenceFamily.BT_TIE):
        return (0.0,)
    scale = _RK_SCALE if family is PreferenceFamily.RK else 1.0
    return tuple(scale * tau for tau in _TAUS)


def _prior(
    family: PreferenceFamily, together: FloatArray, tau: float, rho: float, tau_eta: float
) -> TastePrior:
    mixed = (1 - rho) * np.eye(together.shape[0]) + rho * together
    nothing = np.zeros(together.shape[0] + 1)
    return TastePrior(family, tau**2 * mixed, tau_eta**2, nothing, tau, rho)


def _posterior(prior: TastePrior, votes: UserVotes) -> Taste:
    """Newton's method with the expected information, in whitened coordinates u = L^-1 (d, e) with
    the prior N(0, I): a covariance that may be singular need not be inverted."""
    root = _root(prior)
    size = root.shape[0]
    u, identity = np.zeros(size), np.eye(size)
    value, slope, information = _whitened(prior.family, votes, root, u)
    for _ in range(_MAX_STEPS if len(votes) > 0 and bool(np.any(root)) else 0):
        step = np.linalg.solve(information + identity, slope - u).astype(np.float64)
        moved = _line_search(prior.family, votes, root, u, step, value)
        if moved is None:
            break
        u, (value, slope, information) = moved
        if float(np.abs(root @ step).max()) < _TOLERANCE:
            break
    spread = np.einsum("ij,jk,ik->i", root, np.linalg.inv(information + identity), root)
    found = root @ u
    return Taste(found[:-1], float(found[-1]), spread[:-1], len(votes))


def _root(prior: TastePrior) -> FloatArray:
    """A matrix (M + 1, M + 1) with root @ root.T equal to the prior's covariance."""
    values, vectors = np.linalg.eigh(prior.covariance)
    size = values.size
    root = np.zeros((size + 1, size + 1))
    root[:size, :size] = vectors * np.sqrt(np.maximum(values, 0.0))
    root[size, size] = np.sqrt(prior.eta_variance)
    return root


def _line_search(
    family: PreferenceFamily,
    votes: UserVotes,
    root: FloatArray,
    u: FloatArray,
    step: FloatArray,
    value: float,
) -> tuple[FloatArray, tuple[float, FloatArray, FloatArray]] | None:
    """Returns the first halving of the step that raises the posterior; None where none does."""
    now = value - 0.5 * float(u @ u)
    for _ in range(20):
        tried = u + step
        found = _whitened(family, votes, root, tried)
        if found[0] - 0.5 * float(tried @ tried) > now:
            return tried, found
        step = step / 2
    return None


def _whitened(
    family: PreferenceFamily, votes: UserVotes, root: FloatArray, u: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """`_at` in the whitened coordinates u."""
    value, slope, information = _at(family, votes, root @ u)
    return value, root.T @ slope, root.T @ information @ root


def _at(
    family: PreferenceFamily, votes: UserVotes, x: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """The log-likelihood, its gradient and the expected information at x (M + 1,): shift and
    eta."""
    logs = _logs(family, votes, x)
    slopes = _slopes(family, votes, x)  # (N, K, 3): by a's coefficient, b's, eta
    weighted = votes.weight[:, None] * votes.target
    by = np.einsum("nk,nkj->nj", weighted, slopes)
    curve = np.einsum("n,nk,nki,nkj->nij", votes.weight, np.exp(logs), slopes, slopes)
    places = np.stack([votes.a, votes.b, np.full_like(votes.a, x.size - 1)], axis=1)  # (N, 3)
    gradient = np.zeros(x.size)
    np.add.at(gradient, places, by)
    information = np.zeros((x.size, x.size))
    np.add.at(information, (places[:, :, None], places[:, None, :]), curve)
    return float((weighted * logs).sum()), gradient, information


def _logs(family: PreferenceFamily, votes: UserVotes, x: FloatArray) -> FloatArray:
    """Log-probabilities (N, K)."""
    a, b = votes.coef_a + x[votes.a], votes.coef_b + x[votes.b]
    return log_probabilities(family, a, b, votes.eta + x[-1], votes.gamma)


def _slopes(family: PreferenceFamily, votes: UserVotes, x: FloatArray) -> FloatArray:
    """Derivatives (N, K, 3) by central differences, so that each family's formula stays in one
    place."""
    at = np.array([votes.coef_a + x[votes.a], votes.coef_b + x[votes.b], votes.eta + x[-1]])
    columns = []
    for step in _STEP * np.eye(3)[:, :, None]:
        (a, b, eta), (c, d, other) = at + step, at - step
        above = log_probabilities(family, a, b, eta, votes.gamma)
        columns.append((above - log_probabilities(family, c, d, other, votes.gamma)) / (2 * _STEP))
    return np.stack(columns, axis=-1)


def shrunk(
    own: Mapping[str, FloatArray], variance: Mapping[str, FloatArray], population: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Shrinks users' aggregated leaderboards (U, M) towards the population's (M,).

    own: each user's coefficients (M,); variance: their variance from the sampling of that user's
    prompts. Returns the shrunk coefficients by user, and `between` (M,): the variance of users'
    true leaderboards, which is their spread less that of the sampling (moments of DerSimonian and
    Laird); 0 where users differ no more than by chance. A user's own result has the weight between
    / (between + variance).
    """
    names = list(own)
    values = np.array([own[name] for name in names]) - population  # (U, M)
    spread = np.maximum(np.array([variance[name] for name in names]), 1e-12)
    weight = 1 / spread
    mean = (weight * values).sum(axis=0) / weight.sum(axis=0)
    excess = (weight * (values - mean) ** 2).sum(axis=0) - (len(names) - 1)
    room = weight.sum(axis=0) - (weight**2).sum(axis=0) / weight.sum(axis=0)
    between = np.maximum(excess / np.maximum(room, 1e-12), 0.0)
    kept = between / (between + spread)
    return dict(zip(names, population + kept * values, strict=True)), between
