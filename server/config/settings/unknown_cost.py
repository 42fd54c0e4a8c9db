"""What is billed where nobody knows what an attempt cost."""

from __future__ import annotations

from enum import StrEnum


class UnknownCost(StrEnum):
    """What an attempt is billed at that the provider may have charged without telling us: it timed
    out, or was given up or lost before anything of the answer was seen, or while it thought unseen:
    what was expected of it when it was reserved, the worst that was reserved, or nothing."""

    EXPECTED = "expected"
    WORST = "worst"
    ZERO = "zero"
