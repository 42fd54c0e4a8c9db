"""The garbage collector, where it would look in vain through much that nobody has let go of."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """It does not run, and what is made meanwhile it leaves alone for good: that is freed when
    nobody holds it any more, as nearly everything is.

    For what makes a great deal at once: to look through it for garbage, again and again as it
    grows, holds up every thread, for a tenth of a second and more.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
