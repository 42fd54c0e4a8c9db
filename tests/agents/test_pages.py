"""The pages of the agents say what the trials use: version, variables, commands and files."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from agent_clients import CLIENTS, Client, filled

from server.config.settings import Settings

PAGES = Path(__file__).parents[2] / "docs" / "clients"
WORDS = {
    "codex_model": 'model = "p2l"',
    "tell_window": "",
    "url": "http://127.0.0.1:8000",
    "key": "sk-your-key",
    "model": "p2l",
}
# What the trials add because nobody is there to say yes, or to keep them small; on a page in words.
_OF_TRIALS = {
    "approval_policy", "sandbox_mode", "permission", "autoupdate", "share", "generationConfig",
    "defaultCompletionOptions",
    "IS_SANDBOX", "CONTINUE_TELEMETRY_ENABLED", "OPENCODE_DISABLE_AUTOUPDATE",
    "OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_LSP_DOWNLOAD",
}  # fmt: skip
_READERS: dict[str, Any] = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}


def blocks(name: str) -> list[tuple[str, str]]:
    text = (PAGES / f"{name}.md").read_text()
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_page_says_what_is_tried(client: Client) -> None:
    page = (PAGES / f"{client.name}.md").read_text()
    assert client.version in page
    shell = "\n".join(text for kind, text in blocks(client.name) if kind == "bash")
    assert re.search(rf"^{client.command[0]}\b", shell, re.M)
    for name, value in client.environ.items():
        if name not in _OF_TRIALS:
            assert f"export {name}={filled(value, WORDS)}\n" in shell
    for place, text in client.files.items():
        if filled(text, WORDS) == "{}":
            continue  # it tells of a window alone
        assert Path(place).name in page or place == "continue.yaml"
        kind = {"yaml": "yaml", "json": "json", "toml": "toml"}[place.rpartition(".")[2]]
        read = _READERS[kind]
        written = [
            _kept(read(found)) for language, found in blocks(client.name) if kind == language
        ]
        assert _kept(read(filled(text, WORDS))) in written


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _kept(inner) for name, inner in value.items() if name not in _OF_TRIALS}
    return [_kept(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CLIENTS)
def test_configurations_of_the_gateway_are_valid(name: str) -> None:
    for language, text in blocks(name):
        if language == "yaml" and "schema: v1" not in text:
            Settings.model_validate(yaml.safe_load(text))


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:\s]+)", page.read_text()):
        assert (page.parent / link).exists(), link
