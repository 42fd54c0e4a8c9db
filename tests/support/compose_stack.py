"""deploy/compose.yaml, built and run for real without an engine.

P2L_IMAGE_TOOLS names a folder with the programs that do it: `prepare`, `build`, `run`, `compose`.
They do not mount secrets and have one network for all, so the file is given to them with each
secret as a read-only mount at its place; nothing else of it is changed.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PORTS = {"gateway": 8000, "model": 8001, "postgres": 5432, "redis": 6379, "prometheus": 9090}


def image_tools() -> Path:
    """The folder; skips where there is none."""
    found = os.environ.get("P2L_IMAGE_TOOLS")
    if not found:
        pytest.skip("P2L_IMAGE_TOOLS is not set: the images are not built here")
    if os.geteuid() != 0:
        pytest.skip("building images needs root")
    return Path(found)


def need_ports() -> None:
    """One network for all: the ports of the services must be free on this machine."""
    for name, port in PORTS.items():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port} ({name}) is in use on this machine")


def build_images(tools: Path) -> None:
    """Those of the profile full, from the checkout as it is."""
    bases = re.findall(r"^FROM (python:\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    _checked([str(tools / "prepare"), *dict.fromkeys(bases)])
    _checked([str(tools / "prepare")])  # what its stand-ins for other images are built on
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("gateway", "model"):
        target, tag = services[name]["build"]["target"], services[name]["image"]
        _checked([str(tools / "build"), tag, str(ROOT), "Dockerfile", "--target", target])


class Stack:
    """The compose file, with all services of a profile or those of it that are named. folder: its
    own, where the file goes. profile: empty for what is started without one."""

    def __init__(
        self, tools: Path, folder: Path, secrets: Path, *services: str, profile: str = "full"
    ) -> None:
        self._tools = tools
        self._profile = profile
        self._secrets = secrets
        folder.mkdir()
        self.file = folder / "compose.yaml"
        document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        for name, service in document["services"].items():
            self._fit(name, service)
            if services:
                service["depends_on"] = {}
                if name not in services:  # known by its name, not started
                    service["profiles"] = ["elsewhere"]
        document["name"] = f"p2l-test-{folder.name}"
        self.file.write_text(yaml.safe_dump(document))

    def up(self) -> str:
        """Returns once all services are healthy; what was said on the way."""
        return self._compose("up", "-d")

    def down(self, *, drop: bool = False) -> None:
        self._compose("down", *(["-v"] if drop else []))

    def _compose(self, *words: str) -> str:
        environ = {
            **os.environ,
            "COMPOSE_PROFILES": self._profile,
            "P2L_CONFIG_FILE": str(DEPLOY / f"config.{self._profile or 'sandbox'}.yaml"),
        }
        return _checked([str(self._tools / "compose"), str(self.file), *words], environ)

    def _fit(self, name: str, service: dict[str, Any]) -> None:
        if "build" in service:
            service["build"]["context"] = str(ROOT)
        volumes = [re.sub(r"^\./", f"{DEPLOY}/", volume) for volume in service.get("volumes", [])]
        for secret in service.pop("secrets", []):
            volumes.append(f"{self._secrets / secret}:/run/secrets/{secret}:ro")
        service["volumes"] = volumes
        if name == "postgres":  # the one that plays it knows no POSTGRES_PASSWORD_FILE
            password = (self._secrets / "postgres_password").read_text()
            service["environment"]["POSTGRES_PASSWORD"] = password


def _checked(command: list[str], environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{command}: {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout + done.stderr
