"""Messages use the words of the glossary, and no others for the same things."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The other word -> that of docs/glossary.md.
OTHERS = {
    "upstream": "provider",
    "catalog": "catalogue",
    "cooldown": "rests",
    "personalised": "taste",
}
PACKAGES = ("server", "router", "p2l_model")
# Names of things, not words.
NAMES = re.compile(r"upstream_\w+|score, decide and upstream")


@functools.cache
def sentences() -> tuple[tuple[str, str], ...]:
    """(module, text): those of at least three words that are not the module's documentation."""
    found = []
    for source in (s for name in PACKAGES for s in (ROOT / name).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(source.read_text())))
        notes = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            said = node.value if isinstance(node, ast.Constant) and id(node) not in notes else None
            if isinstance(said, str) and said.count(" ") > 1:
                found.append((str(source.relative_to(ROOT)), NAMES.sub("", said)))
    return tuple(found)


@pytest.mark.parametrize("other", OTHERS)
def test_one_word_for_one_thing(other: str) -> None:
    word = re.compile(rf"\b{other}s?\b", re.IGNORECASE)
    found = [one for one in sentences() if word.search(one[1])]
    assert found == [], f"say {OTHERS[other]}"


def test_no_message_speaks_the_old_dialect() -> None:
    """Phrases that leave out what a newcomer needs."""
    phrases = re.compile(
        r"\bis no (object|JSON|wheel|zip|message|folder|table|URL|receipt)\b|cannot express"
        r"|, and has\.|under way|left alone"
    )
    assert [one for one in sentences() if phrases.search(one[1])] == []
