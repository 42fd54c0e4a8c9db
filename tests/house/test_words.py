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
    "personalised": "local layer",
    "taste": "local layer",
}
PACKAGES = ("server", "router", "p2l_model")
# Phrases that leave out what a newcomer needs.
OLD_DIALECT = re.compile(
    r"\bis no (object|JSON|wheel|zip|message|folder|table|URL|receipt)\b|cannot express"
    r"|, and has\.|under way|left alone"
)
# Between two parts of a text that are written below each other.
BETWEEN = re.compile(r"""["']\s*\n\s*[bfr]*["']""")
# Names of things, not words.
NAMES = re.compile(r"upstream_\w+|score, decide and upstream")


def word_of(other: str) -> re.Pattern[str]:
    return re.compile(rf"\b{other}s?\b", re.IGNORECASE)


@functools.cache
def sentences() -> tuple[tuple[str, str], ...]:
    """(module, text): those of at least three words that are not the module's documentation, of
    the modules that have any of the words looked for anywhere."""
    found = []
    for source in (s for name in PACKAGES for s in (ROOT / name).rglob("*.py")):
        text = source.read_text()
        whole = BETWEEN.sub("", text)
        if not any(word.search(whole) for word in (*map(word_of, OTHERS), OLD_DIALECT)):
            continue
        nodes = list(ast.walk(ast.parse(text)))
        notes = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            said = node.value if isinstance(node, ast.Constant) and id(node) not in notes else None
            if isinstance(said, str) and said.count(" ") > 1:
                found.append((str(source.relative_to(ROOT)), NAMES.sub("", said)))
    return tuple(found)


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_one_word_for_one_thing(other: str) -> None:
    found = [one for one in sentences() if word_of(other).search(one[1])]
    assert found == [], f"say {OTHERS[other]}"


@pytest.mark.slow
def test_no_message_speaks_the_old_dialect() -> None:
    """Phrases that leave out what a newcomer needs."""
    assert [one for one in sentences() if OLD_DIALECT.search(one[1])] == []
