"""Is a layer from which answers were left out the one that was never told them?

    python studies/study_without.py

Simulated users (those of study_personal.py) vote, or grade one answer. A layer learns all they say,
in turn. For each user its answers are left out (`p2l_model.local.sites`), which the gateway does;
the other way is to learn the answers of the others anew. Both go on with the user's first n answers
as somebody who may differ, and foresee those that neither has learnt. Reported is how much more
log-loss leaving out has, with 95% over users, and by how much values differ (root mean square, in
log-odds, less their mean).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from study_personal import N_USERS, NAMES, Vote, World, interval, log_loss, start, world

from p2l_model.local.differences import Differences, correlation
from p2l_model.local.layer import LocalLayer
from p2l_model.local.sites import Sites
from p2l_model.types import Outcome

COUNTS = (0, 10, 60)
GIVEN = 60


def learn(layer: LocalLayer, votes: Sequence[Vote], *, graded: bool) -> LocalLayer:
    """The same layer, which has learnt the votes, or grades of the first model of each."""
    for one in votes:
        if graded:
            good = one.outcome in (Outcome.MODEL_A, Outcome.TIE)
            layer.learn_grade(one.a, float(good), one.terms)
        else:
            layer.learn_vote(one.a, one.b, one.outcome, 0.0, one.terms)
    return layer


def differ(
    found: World, users: Sequence[Sequence[Vote]], spread: float, *, graded: bool
) -> Iterator[tuple[float, list[float]]]:
    """For each user of one gateway, by how much values differ, and how much more log-loss there is
    by number of own answers."""
    order = [(u, k) for k in range(GIVEN) for u in range(len(users))]
    everyone = start(found.usual)
    everyone.sites = Sites()
    learn(everyone, [users[u][k] for u, k in order], graded=graded)
    apart = Differences(spread).covariance(correlation(found.values))
    for u, votes in enumerate(users):
        left = everyone.without(n for n, (by, _) in enumerate(order) if by == u)
        others = [users[by][k] for by, k in order if by != u]
        anew = learn(start(found.usual), others, graded=graded)
        moved = np.std(left.predict(NAMES).mean - anew.predict(NAMES).mean)
        own, more = [one.apart(apart) for one in (left, anew)], []
        for before, n in zip((0, *COUNTS), COUNTS, strict=False):
            some = votes[before:n]
            losses = [log_loss(learn(one, some, graded=graded), votes[GIVEN:]) for one in own]
            more.append(losses[0] - losses[1])
        yield float(moved), more


def compare(n_users: int, spread: float, *, graded: bool) -> None:
    """Prints the differences over gateways with so many users each."""
    found = world(spread, 0.5)
    gateways = range(0, N_USERS - n_users + 1, n_users)
    all_of = [
        one
        for first in gateways
        for one in differ(found, found.users[first : first + n_users], spread, graded=graded)
    ]
    moved = np.sqrt(np.mean([by**2 for by, _ in all_of]))
    kind = "grades" if graded else "votes"
    print(f"{n_users} users, spread {spread}, {kind}: values differ by {moved:.4f}")
    for n, more in zip(COUNTS, np.array([more for _, more in all_of]).T, strict=True):
        print(f"{n:4} own: {interval(more)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[20, 5, 2])
    parser.add_argument("--spread", type=float, nargs="+", default=[0.0, 1.0])
    args = parser.parse_args()
    for n_users in args.users:
        for spread in args.spread:
            for graded in (False, True):
                compare(n_users, spread, graded=graded)


if __name__ == "__main__":
    main()
