"""The first and the last part of a conversation, cut before it is tokenised.

What is asked stands at one of the two ends of nearly every long prompt, and tokenising is most of
what static features cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

# English has a little more than this for each token, so that a text which is cut is nearly full.
CHARS_PER_TOKEN: Final = 4


def both_ends(turns: Sequence[str], max_tokens: int) -> tuple[str, ...]:
    """The whole text as one part, or its first and last part where it is longer than
    CHARS_PER_TOKEN * max_tokens characters. A part is cut between two words where it has several.

    Blanks around a turn make no tokens and do not count.
    """
    room = CHARS_PER_TOKEN * max_tokens
    first = _until((turn.strip()[: room + 1] for turn in turns), room + 1)
    if len(first) <= room:
        return (first,)
    reversed_turns = (turn.strip()[-room:][::-1] for turn in reversed(turns))
    last = _until(reversed_turns, room // 2)[::-1]
    return _whole_words(first[: room // 2], last)


def _until(turns: Iterable[str], n_chars: int) -> str:
    """The first n_chars characters of the turns, one line each."""
    kept: list[str] = []
    n_kept = 0
    for turn in turns:
        kept.append(turn[: n_chars - n_kept])
        n_kept += len(kept[-1]) + 1
        if n_kept > n_chars:  # no line end follows the last of them
            break
    return "\n".join(kept)[:n_chars]


def _whole_words(first: str, last: str) -> tuple[str, str]:
    """Without the word that the cut may have parted."""
    if not first[-1:].isspace():
        first = (first.rsplit(None, 1) or [""])[0]
    if not last[:1].isspace():
        last = (last.split(None, 1) or [""])[-1]
    return first.strip(), last.strip()
