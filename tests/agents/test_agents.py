"""Real coding agents do a job through the gateway. CI does this with two of them, in the scenarios
in which most breaks; `make test-agents` with all, in all."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_clients import CLIENTS
from agent_rows import run_row
from run_agents import line


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["plain", "rotate"])
@pytest.mark.parametrize("name", ["opencode", "qwen-code"])
def test_an_agent_does_its_job(name: str, scenario: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    if client.missing is not None:
        pytest.skip(f"{client.missing}; make agents installs it")
    row = run_row(client, scenario, tmp_path)
    assert row.holds, line(row)
    if scenario == "rotate":
        assert len(row.models) == 4, row.models
