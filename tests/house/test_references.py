"""The reference pages say what the program says: commands by their parsers, errors by their codes,
dialects by what is sent, the runbook by what is logged and done, and the list of pages by the
pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from server import errors
from server.adapting import stand_ins
from server.commands.reference import reference
from server.commands.verbs import VERBS
from server.errors import ApiError
from server.http.answers import Bounds
from server.http.joining import Joining
from server.surfaces.chat.request import MAX_MESSAGES
from server.surfaces.json_body import MOST
from server.upstream.openai_body import fit
from server.upstream.profiles import PROFILES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Beside those that are passed on from providers.
OF_FUNCTIONS = {"upstream_error", "upstream_timeout", "context_length_exceeded"}


HEADER = re.compile(r"x-p2l-[a-z-]+[a-z]")


@cache
def nodes(of: str = "") -> list[ast.AST]:
    """All that is in the sources that have this text."""
    texts = (source.read_text() for source in (ROOT / "server").rglob("*.py"))
    return [node for text in texts if of in text for node in ast.walk(ast.parse(text))]


def codes() -> Iterator[str]:
    """Every code of an error that the source names as a keyword or as a default."""
    for node in nodes():
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


@pytest.mark.slow
def test_every_code_of_an_error_is_explained() -> None:
    rows = re.findall(r"^\| \d{3} \| (.+?) \|", (DOCS / "errors.md").read_text(), re.MULTILINE)
    explained = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    known = {*codes(), *OF_FUNCTIONS}
    assert len(known) > 25
    assert explained == known


ERRORS: dict[str, type[ApiError]] = {
    name: one
    for name, one in vars(errors).items()
    if isinstance(one, type) and issubclass(one, ApiError)
}


def statuses() -> Iterator[tuple[str, int]]:
    """The codes of errors, with the status of the class that has them."""
    for node in nodes():
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
        else:
            continue
        if name not in ERRORS:
            continue
        for one in ast.walk(node):
            if isinstance(one, ast.keyword) and one.arg == "code":
                code = one.value.value if isinstance(one.value, ast.Constant) else None
                if isinstance(code, str):
                    yield code, ERRORS[name].status


@pytest.mark.slow
def test_every_code_of_an_error_has_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", (DOCS / "errors.md").read_text(), re.MULTILINE)
    told = {(code, int(status)) for status, row in rows for code in re.findall(r"`(\w+)`", row)}
    found = set(statuses())
    assert len(found) > 20
    assert found <= told


def test_the_page_of_dialects_has_every_text_that_stands_in() -> None:
    page = (DOCS / "dialects.md").read_text()
    texts = {text for name, text in vars(stand_ins).items() if name.isupper()}
    assert len(texts) > 5
    for text in texts - {stand_ins.GO_ON}:
        assert text in page


def test_the_pages_have_the_limits_of_bodies_and_of_repeated_requests() -> None:
    of_errors = (DOCS / "errors.md").read_text()
    assert f"more than {MAX_MESSAGES:,} messages" in of_errors
    said = f"{MOST.containers:,} lists and objects, {MOST.keys:,} keys or {MOST.values:,} values"
    assert said in of_errors
    held, page = Bounds(), " ".join((DOCS / "retries.md").read_text().split())
    megabytes, each = held.bytes // 1_000_000, held.bytes_each // 1_000_000
    assert f"at most {held.answers:,}, of {megabytes} MB together and {each} MB each" in page
    assert held.kept_s == 120.0
    assert "for two minutes after they have ended" in page
    assert Joining().outlives_s == 10.0
    assert "it goes on for up to ten seconds" in page


def test_the_list_of_pages_has_every_page() -> None:
    listed = set(re.findall(r"\]\(([\w/.-]+\.md)", (DOCS / "contents.md").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert pages - listed - {"contents.md"} == set(), "name the page in docs/contents.md"


def test_the_site_has_every_page() -> None:
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert pages - named == set(), "name the page in mkdocs.yml"


RUNBOOK = (DOCS / "runbook.md").read_text()
# What stands for a word that the program puts in: 1000, NAME, PID.
PUT_IN = re.compile(r"\b(?:[A-Z]{1,}|\d+)\b")


def said() -> Iterator[str]:
    """Every text of the source, with X for what the program puts in."""
    for node in nodes():
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "X" for one in node.values)
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[sdg]", "X", node.value)


def quoted() -> list[str]:
    """The log lines and messages that the runbook quotes: what has a space, and is no command."""
    every = re.findall(r"`([^`]+)`", re.sub(r"^ *```.*?^ *```", "", RUNBOOK, flags=re.M | re.S))
    lines = [re.sub(r"\s+", " ", one) for one in every if " " in one]
    known = ("p2l-router ", "curl ", "docker ", "-H ", "GET ", "kill ", "--")
    names = {task for task, *_ in tasks_told()}
    return [
        one
        for one in lines
        if not (one.startswith(known) or one in names or re.fullmatch(r"[\w.-]+: \w+", one))
    ]


def fits(text: str, line: str) -> bool:
    first, last = text.split("X")[0], text.split("X")[-1]
    if not (line.startswith(first) and line.endswith(last)):
        return False
    return re.fullmatch(re.escape(text).replace("X", ".+"), line) is not None


@pytest.mark.slow
def test_the_runbook_quotes_what_the_program_says() -> None:
    texts = {PUT_IN.sub("X", text) for text in said()}
    whole = "\n".join(texts)
    # A text of little more than what is put in would be anything.
    open_ended = [text for text in texts if "X" in text and "\n" not in text and len(text) > 12]
    lines = quoted()
    assert len(lines) > 20
    for line in lines:
        plain = PUT_IN.sub("X", line).removeprefix("p2l-router: ")
        is_said = plain in whole or any(fits(text, plain) for text in open_ended)
        assert is_said, line


def tasks_told() -> list[tuple[str, ...]]:
    rows = re.findall(r"^\| `([a-z_ ]+)` \|.*\| (yes|no) \|$", RUNBOOK, re.MULTILINE)
    return [(name, guards) for name, guards in rows]


def test_the_runbook_lists_every_background_task() -> None:
    """One that is missing would be an alert without a reason."""
    jobs = {}
    for node in nodes("Job("):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Job":
            given = {one.arg: one.value for one in node.keywords}
            if "every_s" not in given:
                continue  # another class of this name
            name, guards = given["name"], given.get("guards")
            assert isinstance(name, ast.Constant)
            is_guard = isinstance(guards, ast.Constant) and bool(guards.value)
            jobs[name.value] = "yes" if is_guard else "no"
    assert len(jobs) > 8
    assert dict(tasks_told()) == jobs


PROFILE_NAMES = {
    **{name: name.lower() for name in ("OpenAI", "Azure", "OpenRouter", "Together", "Groq")},
    **{name: name.lower() for name in ("DeepSeek", "Mistral", "vLLM", "Ollama", "generic")},
}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
# What the rows of the table of dialects ask for, beside a message.
ASKED: dict[str, list[dict[str, Any]]] = {
    "names of messages": [{"messages": [{"role": "user", "content": "x", "name": "y"}]}],
    "forced tools": [{"tools": [FUNCTION], "tool_choice": "required"}],
    "`parallel_tool_calls: false`": [{"tools": [FUNCTION], "parallel_tool_calls": False}],
    "custom tools": [{"tools": [{"type": "custom", "custom": {"name": "f"}}]}],
    "`functions`": [{"functions": [{"name": "f"}]}],
    "`response_format` `json_schema`": [{"response_format": SCHEMA}],
    "`response_format` `json_object`": [{"response_format": {"type": "json_object"}}],
    "`n`": [{"n": 2}],
    "`seed`": [{"seed": 2}],
    "penalties": [{"presence_penalty": 1}, {"frequency_penalty": 1}],
    "`logprobs`, `top_logprobs`": [{"logprobs": True}, {"logprobs": True, "top_logprobs": 2}],
    "`logit_bias`": [{"logit_bias": {"1": 2}}],
    "`prediction`": [{"prediction": {"type": "content", "content": "a"}}],
    "`moderation`": [{"moderation": {"model": "a"}}],
    "`verbosity`": [{"verbosity": "low"}],
    "`audio`, `modalities`, `web_search_options`": [
        {"audio": {"voice": "a", "format": "wav"}},
        {"modalities": ["audio"]},
        {"web_search_options": {}},
    ],
    "`service_tier`": [{"service_tier": "flex"}],
}


def profiles_in(text: str) -> set[str]:
    return {PROFILE_NAMES[word] for word in re.findall(r"\w+", text) if word in PROFILE_NAMES}


def takers(cell: str) -> set[str]:
    """The profiles that take something, by what the table says of it."""
    first, *others = cell.split(";")
    takes = profiles_in(first)
    if first.strip().startswith("yes"):
        takes = set(PROFILES) - takes
    return takes - {name for part in others for name in profiles_in(part)}


@pytest.mark.parametrize("what", ASKED)
def test_the_table_of_dialects_says_what_is_sent(what: str) -> None:
    page = (DOCS / "dialects.md").read_text()
    (cell,) = re.findall(rf"^\| {re.escape(what)} \| ([^|]+) \|", page, re.MULTILINE)
    assert set(PROFILE_NAMES.values()) == set(PROFILES)
    for fields in ASKED[what]:
        body = {"messages": [{"role": "user", "content": "x"}], **fields}
        fits = {name: fit(profile, body) for name, profile in PROFILES.items()}
        sent = {name for name, one in fits.items() if one.reason is None and not one.left_out}
        assert takers(cell) == sent, fields


@pytest.mark.slow
def test_the_api_lists_every_header_of_an_answer() -> None:
    texts = (node.value for node in nodes() if isinstance(node, ast.Constant))
    known = {text for text in texts if isinstance(text, str) and HEADER.fullmatch(text)}
    section = (DOCS / "api.md").read_text().split("## What comes back")[1].split("\n## ")[0]
    assert len(known) > 12
    assert set(HEADER.findall(section)) == known
