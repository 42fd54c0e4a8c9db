"""Schemathesis against a real gateway, by its own OpenAPI document: no server error.

.venv/bin/python fuzz/fuzz_openapi.py .venv-fuzz/bin/schemathesis --max-time 60
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from fake_provider import FakeProvider
from live_gateway import config_for
from serve_process import ServeProcess


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeProvider(api_key="k") as provider,
        ServeProcess(
            Path(folder), config_for(provider.base_url), environ={"MAIN_KEY": "k"}
        ) as serve,
    ):
        command = [sys.argv[1], "run", f"{serve.url}/openapi.json", "--url", serve.url,
                   "--checks", "not_a_server_error", "--continue-on-failure", "--no-color",
                   *sys.argv[2:]]  # fmt: skip
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
