"""The client matrix: each client does a small task against the live server, streaming and tools
included; docs/clients.md is the record of it. `make test-clients` sets the clients up."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_provider import Behaviour, FakeProvider, Recorded
from live_gateway import LiveGateway

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
RECORD = ROOT / "docs" / "clients.md"
KEY = "key-of-the-caller"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test-clients sets the clients up"),
]


class Weatherman(FakeProvider):
    """Calls the tool that it is given, then says what the tool said."""

    def _behaviour(self, request: Recorded) -> Behaviour:
        body = request.body
        last = body["messages"][-1]
        if last["role"] == "tool":
            content = last["content"]
            said = content if isinstance(content, str) else content[0]["text"]
            return Behaviour(texts=("It is ", f"{said} ", "in Oslo."))
        if body.get("tools"):
            return _called(body["tools"][0]["function"]["name"])
        if body.get("response_format"):
            return Behaviour(texts=('{"city": ', '"Oslo"}'))
        return Behaviour(texts=("Hello ", "there."))


def _called(name: str) -> Behaviour:
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    deltas = (
        {"content": None, "tool_calls": [{"index": 0, **call}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
    )
    whole = {**call, "function": {"name": name, "arguments": '{"city": "Oslo"}'}}
    message = {"content": None, "tool_calls": [whole]}
    return Behaviour(deltas=deltas, message=message, finish_reason="tool_calls")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Weatherman() as provider:
        config = f"""
providers: {{it: {{kind: openai, base_url: "{provider.base_url}"}}}}
models: {{good: {{provider: it, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}}}
auth: {{keys: [{{name: me, key_env: MY_KEY}}]}}
scorer: {{fixed: {{good: 1}}}}
"""
        with LiveGateway(config, {"MY_KEY": KEY}) as gateway:
            yield gateway.url


def rows(command: list[str], cwd: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, done.stderr[-2000:]
    return found


def curl(url: str) -> dict[str, Any]:
    """Plain curl, streamed."""
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    row = {"client": "curl", "version": version.stdout.split()[1]}
    body = {"model": "p2l", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    command = ["curl", "-sN", f"{url}/v1/chat/completions", "-H", f"authorization: Bearer {KEY}"]
    command += ["-H", "content-type: application/json", "-d", json.dumps(body)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    whole = "there." in said and said.endswith("data: [DONE]\n\n")
    return row | ({"did": ["stream"]} if whole else {"error": said[:400]})


def test_every_client_does_its_task(url: str) -> None:
    found = rows([str(PYTHON), str(HERE / "python_clients.py"), url, KEY], HERE)
    node = shutil.which("node")
    assert node is not None, "node is needed for the clients in tests/clients/node"
    found += rows([node, "clients.mjs", url, KEY], HERE / "node")
    found.append(curl(url))
    failed = {row["client"]: row["error"] for row in found if "error" in row}
    assert not failed
    assert len(found) == 11
    table = "\n".join(f"| {r['client']} | {r['version']} | {', '.join(r['did'])} |" for r in found)
    RECORD.write_text(
        "# Clients\n\nWritten by `make test-clients`: each of these did a small task against the "
        "live server. Coding agents have [pages of their own](clients/agents.md).\n\n"
        "| client | version | what it did |\n|---|---|---|\n" + table + "\n"
    )
