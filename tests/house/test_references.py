"""The reference pages say what the program says: commands by their parsers, errors by their codes,
and the list of pages by the pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from server.commands.reference import reference
from server.commands.verbs import VERBS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Beside those that are passed on from providers.
OF_FUNCTIONS = {"upstream_error", "upstream_timeout", "context_length_exceeded"}


def codes() -> Iterator[str]:
    """Every code of an error that the source names as a keyword or as a default."""
    for source in (ROOT / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code":
                values: list[ast.expr | None] = [node.value]
            elif isinstance(node, ast.FunctionDef):
                pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                values = [default for argument, default in pairs if argument.arg == "code"]
            else:
                continue
            for value in values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value


def test_the_page_of_commands_is_current() -> None:
    assert (DOCS / "commands.md").read_text() == reference(), (
        ".venv/bin/python -m server.commands.reference > docs/commands.md"
    )


def test_every_verb_has_a_section() -> None:
    page = reference()
    for verb, (summary, example) in VERBS.items():
        assert f"\n## {verb}\n\n{summary}\n\n    p2l-router {example}\n" in page


def test_every_code_of_an_error_is_explained() -> None:
    rows = re.findall(r"^\| \d{3} \| (.+?) \|", (DOCS / "errors.md").read_text(), re.MULTILINE)
    explained = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    known = {*codes(), *OF_FUNCTIONS}
    assert len(known) > 25
    assert explained == known


def test_the_list_of_pages_has_every_page() -> None:
    listed = set(re.findall(r"\]\(([\w/.-]+\.md)", (DOCS / "contents.md").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert pages - listed - {"contents.md"} == set(), "name the page in docs/contents.md"


def test_the_site_has_every_page() -> None:
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert pages - named == set(), "name the page in mkdocs.yml"
