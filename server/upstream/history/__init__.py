"""Repairs a conversation that other models have answered, so that the next provider accepts it."""

from server.upstream.history.calls import called_names
from server.upstream.history.mend import mended
from server.upstream.history.rules import Rules

__all__ = ["Rules", "called_names", "mended"]
