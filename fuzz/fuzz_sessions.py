"""A hundred thousand random sessions with budgets, their requests at once: is one overspent?

python fuzz/fuzz_sessions.py [--sessions 100000] [--seed 0]

On 30 November 2026, `--sessions 10000` with the seeds 1 to 8 and `--sessions 5000` with the seeds 9
to 12: of 100,000 sessions none; 394,084 requests were answered, 69,203 refused and 51,643 given up.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

from random_sessions import play


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = play(f"{folder}/p2l.db", args.sessions, args.seed)
    return 1 if found.over else 0


if __name__ == "__main__":
    sys.exit(main())
