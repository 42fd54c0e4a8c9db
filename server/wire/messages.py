"""Tells conversations of text alone, which most are, from those in which more has to be looked
at."""

from __future__ import annotations


def are_texts(messages: object) -> bool:
    """Whether a value is a list of messages that each have a role and a text, and nothing else."""
    if messages.__class__ is not list:
        return False
    for message in messages:
        if message.__class__ is not dict or len(message) != 2 or "role" not in message:
            return False
        if message.get("content").__class__ is not str:
            return False
    return True
