"""The names of the checkpoints that ship with the package."""

from __future__ import annotations

from typing import Final

BUNDLED: Final = "bundled"
BUNDLED_HIGH: Final = "bundled-high"
