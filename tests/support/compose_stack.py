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
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# The tool that starts containers is a Go program. Its traceback, where it crashes, names it.
_CRASHED = "github.com/containers/buildah"
_TRACEBACK = re.compile(r"panic: |fatal error: |SIG[A-Z]+: |goroutine \d+ ")
_SHOWN_CHARS = 3000
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
        self._log: Path | None = None
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
        said = self._compose("up", "-d", before_again=self.down)
        self._log = next((Path(path) for path in re.findall(r"log: (/\S+)", said)), None)
        return said

    def down(self, *, drop: bool = False) -> list[str]:
        """The services that did not end when they were told to, and had to be killed."""
        self._compose("down")
        log = "" if self._log is None or not self._log.exists() else self._log.read_text()
        if drop:
            self._compose("down", "-v")  # the log goes as well
        return re.findall(r"(\w+) did not end in time", log)

    def _compose(self, *words: str, before_again: Callable[[], object] | None = None) -> str:
        environ = {
            **os.environ,
            "COMPOSE_PROFILES": self._profile,
            "P2L_CONFIG_FILE": str(DEPLOY / f"config.{self._profile or 'sandbox'}.yaml"),
        }
        command = [str(self._tools / "compose"), str(self.file), *words]
        return _checked(command, environ, before_again)

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


def _checked(
    command: list[str],
    environ: dict[str, str] | None = None,
    before_again: Callable[[], object] | None = None,
) -> str:
    """What the program says. Where the tool itself has crashed it is tried once more, after
    before_again, and a warning says so. Fails where the program does."""
    code, said = _run(command, environ)
    if code != 0 and _CRASHED in said and _TRACEBACK.search(said):
        _note(f"{command} is tried again: the tool crashed\n{excerpt(said)}")
        if before_again is not None:
            before_again()
        code, said = _run(command, environ)
    if code != 0:
        pytest.fail(f"{command}: {code}\n{excerpt(said)}")
    return said


def _note(text: str) -> None:
    """Shown when the tests are over, and no failure as other warnings are."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(text, stacklevel=3)


def _run(command: list[str], environ: dict[str, str] | None) -> tuple[int, str]:
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, errors="replace", check=False
    )
    return done.returncode, done.stdout + done.stderr


def excerpt(said: str) -> str:
    """The end of it, and the beginning of a Go traceback, which says why."""
    end = said[-_SHOWN_CHARS:]
    found = _TRACEBACK.search(said)
    if found is None or found.start() >= len(said) - len(end):
        return end
    return f"{said[found.start() :][:_SHOWN_CHARS]}\n[...]\n{end}"
