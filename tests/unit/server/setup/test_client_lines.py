"""The lines are for the clients that are installed, and say what the clients' pages say."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

from server.setup.clients import client_lines

DOCS = Path(__file__).parents[4] / "docs"
URL = "http://127.0.0.1:8000"


def lines(*programs: str) -> dict[str, list[str]]:
    found = client_lines(URL, "sk-your-key", lambda name: name if name in programs else None)
    return {one.client: shlex.split(one.line) for one in found}


def test_only_what_is_installed_has_a_line() -> None:
    assert set(lines("codex")) - {"OpenAI SDK"} == {"Codex"}
    assert set(lines()) <= {"OpenAI SDK"}
    assert {"Claude Code", "Codex", "opencode"} <= set(lines("claude", "codex", "opencode"))


def test_claude_code_is_told_what_its_page_says() -> None:
    words = lines("claude")["Claude Code"]
    page = (DOCS / "clients" / "claude-code.md").read_text()
    assert words[-1] == "claude"
    for word in words[:-1]:
        assert f"export {word}\n" in page


def test_codex_is_told_what_its_page_says() -> None:
    words = lines("codex")["Codex"]
    page = (DOCS / "clients" / "codex.md").read_text()
    written = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    flags = words[words.index("codex") + 1 :]
    assert flags[::2] == ["-c"] * (len(flags) // 2)
    assert tomllib.loads("\n".join(flags[1::2])) == written
    assert words[0] == "P2L_KEY=sk-your-key"


def test_opencode_is_told_what_its_page_says() -> None:
    words = lines("opencode")["opencode"]
    page = (DOCS / "clients" / "opencode.md").read_text()
    written = json.loads(page.split("```json\n")[1].split("```")[0])
    name, _, content = words[0].partition("=")
    assert name == "OPENCODE_CONFIG_CONTENT"
    assert json.loads(content)["provider"] == written["provider"]
    assert words[1:] == ["opencode", "-m", "p2l/p2l"]


def test_the_pages_exist() -> None:
    for one in client_lines(URL, "k", lambda name: name):
        assert (DOCS.parent / one.page).exists(), one.page
