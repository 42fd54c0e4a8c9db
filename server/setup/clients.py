"""How each client is pointed at the gateway: one line that can be copied into a shell."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Final, NamedTuple

_MODEL: Final = "p2l"
# Any text will do as a key where the gateway has none.
ANY_KEY: Final = "unused"


class ClientLine(NamedTuple):
    """client: its name. line: the command that starts it, with the gateway as its provider. page:
    what else it can be told, in the documentation."""

    client: str
    line: str
    page: str


def client_lines(
    url: str, key: str = ANY_KEY, which: Callable[[str], str | None] = shutil.which
) -> list[ClientLine]:
    """The lines of the clients that are installed on this machine.

    url: of the gateway, without a path. key: of the gateway. which: finds a program by its name.
    """
    return list(_installed(url, key, which))


def _installed(url: str, key: str, which: Callable[[str], str | None]) -> Iterator[ClientLine]:
    if which("claude") is not None:
        yield ClientLine("Claude Code", claude_code(url, key), "docs/clients/claude-code.md")
    if which("codex") is not None:
        yield ClientLine("Codex", codex(url, key), "docs/clients/codex.md")
    if which("opencode") is not None:
        yield ClientLine("opencode", opencode(url, key), "docs/clients/opencode.md")
    if find_spec("openai") is not None:
        yield ClientLine("OpenAI SDK", openai_sdk(url, key), "docs/routing.md")


def claude_code(url: str, key: str) -> str:
    """Claude Code by its environment; the address is without /v1."""
    words = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": key,
        "ANTHROPIC_MODEL": _MODEL,
    }
    return f"{_environment(words)} claude"


def codex(url: str, key: str) -> str:
    """Codex by flags that stand for the lines of its config.toml."""
    settings = {
        "model": _MODEL,
        "model_provider": _MODEL,
        "model_providers.p2l.name": _MODEL,
        "model_providers.p2l.base_url": f"{url}/v1",
        "model_providers.p2l.env_key": "P2L_KEY",
        "model_providers.p2l.wire_api": "responses",
    }
    flags = (f"-c {shlex.quote(f'{name}={json.dumps(to)}')}" for name, to in settings.items())
    return f"{_environment({'P2L_KEY': key})} codex {' '.join(flags)}"


def opencode(url: str, key: str) -> str:
    """opencode by a configuration in its environment."""
    own = {
        "npm": "@ai-sdk/openai-compatible",
        "name": _MODEL,
        "options": {"baseURL": f"{url}/v1", "apiKey": key},
        "models": {_MODEL: {"name": _MODEL}},
    }
    content = json.dumps({"provider": {_MODEL: own}})
    return f"{_environment({'OPENCODE_CONFIG_CONTENT': content})} opencode -m p2l/{_MODEL}"


def openai_sdk(url: str, key: str) -> str:
    """The variables that OpenAI's own SDKs read."""
    return f"export {_environment({'OPENAI_BASE_URL': f'{url}/v1', 'OPENAI_API_KEY': key})}"


def _environment(words: dict[str, str]) -> str:
    return " ".join(f"{name}={shlex.quote(word)}" for name, word in words.items())
