"""Installs the agents, all or those that are named, each in a folder of the cache.

    python tests/agents/install_agents.py [opencode ...]

The cache is $P2L_AGENTS, or ~/.cache/p2l-router/agents. What is there in the right version is left
alone. What cannot be installed is told in a line, and the others go on; the exit status is 1 then.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from agent_clients import (
    CACHE,
    CLIENTS,
    NODE,
    NODE_PACKAGE,
    NODE_VERSION,
    Client,
    installed_version,
    system_node,
)

_MINUTES = 10


class NotInstalledError(Exception):
    """Why, in a line."""


def install(client: Client) -> None:
    """Raises NotInstalledError."""
    if client.node > system_node() and not (NODE / "node").exists():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise NotInstalledError(f"it wants node {client.node} or newer")
        _npm(CACHE / "node", NODE_PACKAGE, NODE_VERSION)
    _npm(client.place, client.package, client.version)
    if not client.binary.exists():
        raise NotInstalledError(f"its package has no command {client.command[0]}")


def _npm(folder: Path, package: str, version: str) -> None:
    if installed_version(folder, package) == version:
        return
    if shutil.which("npm") is None:
        raise NotInstalledError("npm is not installed")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # newer ones run the scripts only of packages that are named here
    settings = {"private": True, "allowScripts": {package: True}}
    (folder / "package.json").write_text(json.dumps(settings))
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            [*command, f"{package}@{version}"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60 * _MINUTES,
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode != 0:
        said = "" if done is None else " ".join(done.stderr.split())[:300]
        shutil.rmtree(folder, ignore_errors=True)
        raise NotInstalledError(f"npm could not install {package}@{version}: {said or 'too slow'}")


def main(names: list[str]) -> int:
    """The exit status."""
    status = 0
    for name in names or CLIENTS:
        try:
            install(CLIENTS[name])
            print(f"{name} {CLIENTS[name].version}", flush=True)
        except (NotInstalledError, OSError) as error:
            status = 1
            print(f"{name}: not installed: {error}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
