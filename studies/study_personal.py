"""How much do a key's own votes help, by their number? Against what all keys say.

    python studies/study_personal.py
    python studies/study_personal.py --spread 1.0

Simulated users vote on two models a prompt, and differ in what the models are worth to them. How
far they differ is learnt from half of the users, by the functions with which the gateway learns the
layers of keys. For each of the others the votes on n prompts, in a random order, make a layer of
its own, and the gain in log-loss over the layer of all is measured on the rest of its votes. The
interval resamples these users.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2l_model.local.differences import Differences, correlation, most_probable
from p2l_model.local.layer import LocalLayer
from p2l_model.local.sites import Sites
from p2l_model.local.terms import PromptTerms, TermReader
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.types import FloatArray, Outcome, PreferenceFamily

COUNTS = (0, 5, 10, 20, 50, 100)
N_RESAMPLES = 2000
N_MODELS, N_USERS, N_PROMPTS = 20, 40, 160
# As in the gateway: answers by which it is judged how far users differ.
N_TRIED = 1_000
FAMILY = PreferenceFamily.GRK
NAMES = tuple(f"m{k}" for k in range(N_MODELS))
OUTCOMES = outcomes(FAMILY)


@dataclass(frozen=True, slots=True)
class Vote:
    """Of one user on one prompt."""

    a: str
    b: str
    outcome: Outcome
    terms: PromptTerms


@dataclass(frozen=True, slots=True)
class World:
    """users: each one's votes. usual (M,): what a checkpoint that knows all but the users says of
    the models on the mean of the prompts; values (P, M): on each prompt that was voted on."""

    users: Sequence[Sequence[Vote]]
    usual: FloatArray
    values: FloatArray


def world(spread: float, shared: float) -> World:
    """Simulated users. spread: of what models are worth to them, in log-odds. shared: the part of
    its variance that lies along the lines of the prompts' own variation."""
    chance = np.random.default_rng(0)
    loadings = chance.normal(size=(3, N_MODELS)) / np.sqrt(3)
    usual = chance.normal(size=N_MODELS)
    reader = TermReader(usual, {name: k for k, name in enumerate(NAMES)})
    users, said = [], []
    for _ in range(N_USERS):
        along = chance.normal(size=3) @ loadings
        own = np.sqrt(1 - shared) * chance.normal(size=N_MODELS)
        taste = spread * (np.sqrt(shared) * along + own)
        board = usual + chance.normal(size=(N_PROMPTS, 3)) @ loadings
        users.append([vote(row, row + taste, reader, chance) for row in board])
        said.append(board)
    return World(users, usual, np.concatenate(said))


def vote(
    board: FloatArray, truth: FloatArray, reader: TermReader, chance: np.random.Generator
) -> Vote:
    """A user's vote on two random models. board (M,): what the checkpoint says of them on the
    prompt; truth (M,): what they are worth to the user."""
    a, b = chance.permutation(N_MODELS)[:2].tolist()
    chances = np.exp(log_probabilities(FAMILY, truth[a], truth[b], 0.0))
    drawn = int((chances.cumsum() < chance.uniform()).sum())
    outcome = OUTCOMES[min(drawn, len(OUTCOMES) - 1)]
    return Vote(NAMES[a], NAMES[b], outcome, reader.read(board))


def start(usual: FloatArray) -> LocalLayer:
    """A layer before any vote: the models' places are known but for the noise of a column."""
    return LocalLayer.start(NAMES, usual, 0.3**2 * np.eye(N_MODELS))


def learn(layer: LocalLayer, votes: Sequence[Vote]) -> LocalLayer:
    """The same layer, which has learnt the votes."""
    for one in votes:
        layer.learn_vote(one.a, one.b, one.outcome, 0.0, one.terms)
    return layer


def log_loss(layer: LocalLayer, votes: Sequence[Vote]) -> float:
    """The mean over the votes, of the outcomes' probabilities at the layer's mean values."""
    losses = []
    for one in votes:
        value = layer.predict([one.a, one.b], one.terms).mean
        logs = log_probabilities(FAMILY, value[0], value[1], 0.0)
        losses.append(-logs[OUTCOMES.index(one.outcome)])
    return float(np.mean(losses))


def differences(found: World, known: Sequence[Sequence[Vote]]) -> tuple[Differences, FloatArray]:
    """How far users differ, and the covariance (M, M) of that. known: the votes of those from whom
    it is learnt."""
    everyone = start(found.usual)
    everyone.sites = Sites()
    order = [(u, k) for k in range(N_PROMPTS) for u in range(len(known))]
    learn(everyone, [known[u][k] for u, k in order])
    others = [
        everyone.without(n for n, (by, _) in enumerate(order) if by == u) for u in range(len(known))
    ]
    together = correlation(found.values)

    def evidence(tried: Differences) -> float:
        apart = tried.covariance(together)
        pairs = zip(others, known, strict=True)
        each = (learn(layer.apart(apart), own[-(N_TRIED // len(known)) :]) for layer, own in pairs)
        return sum(layer.log_evidence for layer in each)

    best = most_probable(evidence)
    return best, best.covariance(together)


Losses = dict[int, FloatArray]


def losses(spread: float, shared: float) -> tuple[Differences, Losses, Losses]:
    """How far users differ, and by n the log-loss (U,) of the layer of all, and of each user's
    own."""
    found = world(spread, shared)
    known, fresh = found.users[: N_USERS // 2], found.users[N_USERS // 2 :]
    best, apart = differences(found, known)
    everyone = learn(start(found.usual), [v for own in known for v in own])
    of_all: dict[int, list[float]] = {n: [] for n in COUNTS}
    of_own: dict[int, list[float]] = {n: [] for n in COUNTS}
    for u, votes in enumerate(fresh):
        order = np.random.default_rng(u).permutation(N_PROMPTS).tolist()
        own = everyone.apart(apart)
        for before, n in zip((0, *COUNTS), COUNTS, strict=False):
            learn(own, [votes[k] for k in order[before:n]])
            rest = [votes[k] for k in order[n:]]
            of_all[n].append(log_loss(everyone, rest))
            of_own[n].append(log_loss(own, rest))
    return best, *({n: np.array(one) for n, one in x.items()} for x in (of_all, of_own))


def interval(values: FloatArray) -> str:
    """The mean with 95% over users."""
    drawn = np.random.default_rng(0).choice(values, size=(N_RESAMPLES, values.size)).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{values.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spread", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--shared", type=float, default=0.5)
    args = parser.parse_args()
    for spread in args.spread:
        best, of_all, of_own = losses(spread, args.shared)
        print(f"users differ by {spread} log-odds: {best}, learnt from {N_USERS // 2} users")
        for n in COUNTS:
            print(f"{n:4} votes: gain {interval(of_all[n] - of_own[n])} on {of_all[n].mean():.4f}")


if __name__ == "__main__":
    main()
