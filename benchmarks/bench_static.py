"""CPU of one score (tokens, features and leaderboard) with static features and with an encoder.

Both checkpoints are asked in turn in one process on one core, so that what else the machine does
falls on both. Run with `make bench`, or:
OMP_NUM_THREADS=1 python benchmarks/bench_static.py [--static FOLDER] [--encoder FOLDER]
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from statistics import median

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.engine.base import Engine
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation

LENGTHS = (32, 128, 512)
ROUNDS = 25
WORDS = (
    "the a this that some every which what when where how why who our your their people city river",
    "house table letter music story answer question number night winter market engine garden light",
    "paper model price budget reason write explain compare describe list prove translate summarise",
    "because small large early simple strange quiet bright heavy careful and or but with from",
    "reconcile heterogeneous subroutine lambda() x_1=3; {json} unbelievably 3.14159 asynchronous",
)


def main() -> None:
    """One line per length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--static", default="bundled")
    parser.add_argument("--encoder", default="bundled-high")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    sides = [
        Side(load_checkpoint(resolve_checkpoint(name))) for name in (args.static, args.encoder)
    ]
    chance = random.Random(0)
    for n_tokens in LENGTHS:
        spent: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            prompts = [made(sides[1].checkpoint, n_tokens, chance) for _ in range(4)]
            for side, seen in zip(sides, spent, strict=True):
                seen.append(side.cpu_us(prompts))
        ours, theirs = (median(seen) for seen in spent)
        print(
            f"{n_tokens} tokens: static {ours:.0f} us ({min(spent[0]):.0f} to {max(spent[0]):.0f}),"
            f" encoder {theirs:.0f} us, 1/{theirs / ours:.0f}",
            flush=True,
        )


class Side:
    """A checkpoint with its engine."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._engine: Engine = load_engine(checkpoint, n_threads=1)
        self._engine.warm_up()

    def score(self, prompt: str) -> None:
        """From the text to the leaderboard."""
        ids = self.checkpoint.prompt.encode(Conversation((prompt,)))
        self.checkpoint.leaderboard(self._engine.features([ids])[0])

    def cpu_us(self, prompts: list[str]) -> float:
        """The CPU time of one prompt, of the whole process."""
        return cpu_us(lambda: [self.score(prompt) for prompt in prompts]) / len(prompts)


def cpu_us(work: Callable[[], object]) -> float:
    """The process's CPU time."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e6


def made(checkpoint: Checkpoint, n_tokens: int, chance: random.Random) -> str:
    """A text of about so many tokens that nobody has seen."""
    known = " ".join(WORDS).split()
    words: list[str] = []
    n_counted = 0
    while n_counted < n_tokens - 2:
        word = chance.choice(known)
        words.append(word)
        n_counted += checkpoint.prompt.count_tokens(word)
    return " ".join(words)


if __name__ == "__main__":
    main()
