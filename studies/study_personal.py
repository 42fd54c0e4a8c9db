"""How much do a person's own votes help, by their number? Against the population's leaderboards.

    python studies/study_personal.py simulated
    python studies/study_personal.py votes --checkpoint bundled \
        --data DATA/pandalm --user judge_id

Each user's prompts are put in a random order. For n = 0, 1, 2, 5, 10, 20... the votes on the first
n prompts give the user's taste, and the gain in log-loss is measured on the rest. How people differ
is learnt from other users, or, for a real set, from train votes. The interval resamples users.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from p2l_model.analysis.personal import (
    TastePrior,
    UserVotes,
    coefficient_correlation,
    fit_prior,
    log_losses,
)
from p2l_model.analysis.scored import PromptReader
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import IntArray, VoteTable, load_votes
from p2l_model.data.soft_labels import balanced, target_matrix
from p2l_model.data.tables import read_columns
from p2l_model.preference import log_probabilities
from p2l_model.types import FloatArray, PreferenceFamily
from server.commands.datasets import data_files

COUNTS = (0, 1, 2, 5, 10, 20, 50, 100)
N_ORDERS, N_RESAMPLES = 5, 2000
# Simulated users: models, spread of leaderboards by prompt and of tastes by user, in log-odds.
N_MODELS, N_USERS, N_PROMPTS = 20, 40, 160


def gains(
    prior: TastePrior, votes: UserVotes, chance: np.random.Generator
) -> dict[int, FloatArray]:
    """By n: per vote, the population's loss less the user's own, on votes not seen."""
    order = chance.permutation(np.unique(votes.prompt))
    nobody = prior.taste(votes.where(np.zeros(len(votes), dtype=np.bool_)))
    found = {}
    for n in COUNTS:
        seen = np.isin(votes.prompt, order[:n])
        if n >= order.size or seen.all():
            break
        fresh, own = votes.where(~seen), prior.taste(votes.where(seen))
        losses = log_losses(prior.family, fresh, nobody) - log_losses(prior.family, fresh, own)
        found[n] = np.array([np.average(losses, weights=fresh.weight)])
    return found


def report(by_user: Sequence[Sequence[dict[int, FloatArray]]]) -> None:
    """by_user: of each, per order. A line per n."""
    chance = np.random.default_rng(0)
    for n in COUNTS:
        means = [np.mean([one[n] for one in orders if n in one]) for orders in by_user
                 if any(n in one for one in orders)]  # fmt: skip
        if not means:
            continue
        drawn = chance.choice(means, size=(N_RESAMPLES, len(means))).mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        print(f"{n:4} prompts: gain {np.mean(means):+.4f} [{low:+.4f}, {high:+.4f}], "
              f"{len(means)} users")  # fmt: skip


def simulated(spread: float) -> None:
    """spread: of tastes, half of it along the lines of the prompts' own variation."""
    chance = np.random.default_rng(0)
    family = PreferenceFamily.GRK
    loadings = chance.normal(size=(3, N_MODELS)) / np.sqrt(3)
    strength = chance.normal(size=N_MODELS)
    users = []
    for _ in range(N_USERS):
        along = chance.normal(size=3) @ loadings
        taste = spread * (along + chance.normal(size=N_MODELS)) / np.sqrt(2)
        board = strength + chance.normal(size=(N_PROMPTS, 3)) @ loadings
        users.append(draw_votes(family, board, taste, chance))
    sample = strength + chance.normal(size=(2000, 3)) @ loadings
    zero = np.zeros(2000)
    together = coefficient_correlation(HeadOutputs(sample, zero, zero))
    prior = fit_prior(family, users[: N_USERS // 2], together)
    print(f"planted spread {spread}: tau {prior.tau:g}, rho {prior.rho:g}, "
          f"tau_eta {np.sqrt(prior.eta_variance):g}, learnt from {N_USERS // 2} users")  # fmt: skip
    report([[gains(prior, user, chance)] for user in users[N_USERS // 2 :]])


def draw_votes(
    family: PreferenceFamily, board: FloatArray, taste: FloatArray, chance: np.random.Generator
) -> UserVotes:
    """One vote a prompt."""
    n, n_models = board.shape
    a, b = np.array([chance.permutation(n_models)[:2] for _ in range(n)]).T
    rows, zero = np.arange(n), np.zeros(n)
    truth = board + taste
    chances = np.exp(log_probabilities(family, truth[rows, a], truth[rows, b], zero, zero))
    drawn = (chances.cumsum(axis=1) < chance.uniform(size=(n, 1))).sum(axis=1)
    target = np.eye(chances.shape[1])[np.minimum(drawn, chances.shape[1] - 1)]
    return UserVotes(rows, a, b, board[rows, a], board[rows, b], zero, zero, target, zero + 1)


def users_of(
    paths: Sequence[Path], column: str, reader: PromptReader
) -> tuple[list[UserVotes], HeadOutputs]:
    """The votes of files by the column; `source` is the file's own."""
    votes = load_votes(paths)
    names = votes.source.astype(object)
    if column != "source":
        names = np.array([str(v) for p in paths for v in read_columns(p)[column]], dtype=object)
    if len(names) != len(votes):
        raise SystemExit(f"rows were left out; the column {column} no longer fits")
    outputs = reader.outputs(reader.features(votes.conversations))
    users = [user_votes(votes.where(names == name), reader, outputs) for name in np.unique(names)]
    return users, outputs


def user_votes(votes: VoteTable, reader: PromptReader, outputs: HeadOutputs) -> UserVotes:
    """With what the checkpoint predicts."""
    # votes on one prompt say much the same: a prompt's count as one together
    known = balanced(votes.among(reader.models), 1.0)
    p = known.prompt
    return UserVotes(
        p, known.model_a, known.model_b,
        outputs.coefficients[p, known.model_a], outputs.coefficients[p, known.model_b],
        outputs.eta[p], outputs.gamma[p], target_matrix(reader.family, known), known.weight,
    )  # fmt: skip


def real(args: argparse.Namespace) -> None:
    reader = PromptReader.load(args.checkpoint)
    if args.halves:
        everyone, outputs = users_of(data_files(args.data, "validation"), args.user, reader)
        train = [user.where(user.prompt % 2 == 0) for user in everyone]
        held = [user.where(user.prompt % 2 == 1) for user in everyone]
    else:
        train, outputs = users_of(data_files(args.data, "train"), args.user, reader)
        held, _ = users_of(data_files(args.data, "validation"), args.user, reader)
    prior = fit_prior(reader.family, train, coefficient_correlation(outputs))
    print(f"{len(train)} users, {sum(map(len, train))} train votes: tau {prior.tau:g}, "
          f"rho {prior.rho:g}, tau_eta {np.sqrt(prior.eta_variance):g}")  # fmt: skip
    chance = np.random.default_rng(0)
    report([[gains(prior, user, chance) for _ in range(N_ORDERS)] for user in held])
    print("held-out votes: as the checkpoint says, with what is common, with the user's own")
    unknown = prior.taste(held[0].where(np.zeros(len(held[0]), dtype=np.bool_)))
    unknown = replace(unknown, shift=0 * unknown.shift, eta=0.0)
    for user, own in zip(held, train, strict=True):
        nobody = prior.taste(own.where(np.zeros(len(own), dtype=np.bool_)))
        tastes = (unknown, nobody, prior.taste(own))
        losses = [log_losses(reader.family, user, taste) for taste in tastes]
        means = " ".join(f"{loss.mean():.4f}" for loss in losses)
        print(f"  {means}, own less common {interval(user.prompt, losses[1] - losses[2], chance)}")


def interval(prompt: IntArray, gain: FloatArray, chance: np.random.Generator) -> str:
    """The mean gain per vote (N,) with 95% over prompts."""
    _, index = np.unique(prompt, return_inverse=True)
    means = np.bincount(index, gain) / np.bincount(index)
    drawn = chance.choice(means, size=(N_RESAMPLES, means.size)).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{means.mean():+.4f} [{low:+.4f}, {high:+.4f}], {means.size} prompts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["simulated", "votes"])
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--data", nargs="+")
    parser.add_argument("--halves", action="store_true",
                        help="learn from half of the validation prompts")  # fmt: skip
    parser.add_argument("--user", default="user")
    args = parser.parse_args()
    if args.what == "votes":
        real(args)
        return
    for spread in (0.0, 0.5, 1.0):
        simulated(spread)


if __name__ == "__main__":
    main()
