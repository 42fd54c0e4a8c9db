"""The errors of the model half. Each leaf calls for a different reaction by the caller.

P2LError
├── DataError          the votes, scores or prompts given cannot be used (names file and row)
├── CheckpointError    a checkpoint folder is missing, incomplete or contradicts itself
├── ExtraMissingError  an optional dependency is not installed (says what to install)
├── ScoringError       the model could not score a prompt
└── TrainingError      training failed for a reason other than its input
"""

from __future__ import annotations


class P2LError(Exception):
    """Base class of all errors that p2l_model raises on purpose."""


def with_extra(extra: str) -> str:
    """How an extra of this distribution is installed. It is on no package index, so that a command
    which names it would ask for whatever another person has put there."""
    return f"pip install '.[{extra}]' in the source folder of p2l-router (docs/install.md)"


class DataError(P2LError):
    """Input data cannot be used; the message names the file, the row and the fix."""


class CheckpointError(P2LError):
    """A checkpoint cannot be loaded or written as asked."""


class ExtraMissingError(P2LError):
    """An optional dependency is missing; the message says which extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: {with_extra(extra)}")


class ScoringError(P2LError):
    """A prompt could not be scored."""


class TrainingError(P2LError):
    """Training stopped for a reason other than its input."""
