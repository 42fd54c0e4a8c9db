"""Every odd value at every place of every answer of a provider, for every API of the callers.

PYTHONPATH=tests/support python fuzz/fuzz_answers.py --every 7
"""

from __future__ import annotations

import argparse
import asyncio
from itertools import islice

from odd_answers import cases, faults_in


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try only one in so many")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    args = parser.parse_args()
    tried = list(islice(cases(), args.first, None, args.every))
    faults = asyncio.run(faults_in(tried, by_sdks=True))
    print(f"{len(tried)} answers, {len(faults)} of them with a fault of ours")
    for fault in faults[:50]:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
