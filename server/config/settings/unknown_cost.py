"""What an attempt of unknown cost is billed at."""

from __future__ import annotations

from enum import StrEnum


class UnknownCost(StrEnum):
    """What an attempt is billed at that the provider may have charged without reporting it.

    The attempt timed out, or it was given up or lost before anything of its answer was seen, or
    while the model was thinking. It is billed at its expected cost, at the worst case that was
    reserved, or at nothing.
    """

    EXPECTED = "expected"
    WORST = "worst"
    ZERO = "zero"
