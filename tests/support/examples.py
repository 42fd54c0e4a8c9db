"""How many examples a test generates: fewer where only the fast tests run."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# The default of the library, of which the numbers in the tests are multiples.
_USUAL: Final = 100
_FEW: Final = 15


def choose_profile(config: pytest.Config) -> None:
    """For all tests of this process. A busy machine makes an example take any time, which is no
    fault of what is tested."""
    is_fast = config.option.markexpr == "not slow"
    settings.register_profile(
        "p2l",
        max_examples=_FEW if is_fast else _USUAL,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("p2l")


def examples(number: int) -> int:
    """This number, in the proportion of the profile."""
    return max(5, number * settings.default.max_examples // _USUAL)
