"""Messages use the words of the glossary, and no others for the same things."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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
# Names of things, not words.
NAMES = re.compile(r"upstream_\w+|score, decide and upstream")


def sentences(source: Path) -> Iterator[str]:
    """The texts of at least three words in a module that are not its documentation."""
    tree = ast.parse(source.read_text())
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        said = node.value if isinstance(node, ast.Constant) and id(node) not in notes else None
        if isinstance(said, str) and said.count(" ") > 1:
            yield NAMES.sub("", said)


@pytest.mark.parametrize("other", OTHERS)
def test_one_word_for_one_thing(other: str) -> None:
    word = re.compile(rf"\b{other}s?\b", re.IGNORECASE)
    found = [
        (str(source.relative_to(ROOT)), said)
        for package in ("server", "router", "p2l_model")
        for source in (ROOT / package).rglob("*.py")
        for said in sentences(source)
        if word.search(said)
    ]
    assert found == [], f"say {OTHERS[other]}"


def test_no_message_speaks_the_old_dialect() -> None:
    """Phrases that leave out what a newcomer needs."""
    phrases = re.compile(
        r"\bis no (object|JSON|wheel|zip|message|folder|table|URL|receipt)\b|cannot express"
        r"|, and has\.|under way|left alone"
    )
    found = [
        (str(source.relative_to(ROOT)), said)
        for package in ("server", "router", "p2l_model")
        for source in (ROOT / package).rglob("*.py")
        for said in sentences(source)
        if phrases.search(said)
    ]
    assert found == []
