"""`p2l-router serve` as a process of its own, the way it is run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

COMMAND = Path(sys.executable).parent / "p2l-router"
_ADDRESS = re.compile(r"serves (http://\S+)/v1")


class ServeProcess:
    """config: YAML, written to folder; None: without a configuration, as a newcomer starts it. What
    the process says goes to folder/stdout and stderr. first: Python that it runs before it serves.
    """

    def __init__(
        self,
        folder: Path,
        config: str | None,
        *flags: str,
        environ: dict[str, str] | None = None,
        first: str | None = None,
    ) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self._flags = ["--port", "0", *flags]
        if config is not None:
            self.config.write_text(config)
            self._flags += ["--config", str(self.config)]
        # its ledger lies in the folder where the configuration does not say where
        own = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", "XDG_DATA_HOME": str(folder)}
        # where coverage is measured, this process counts
        own |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        self._environ = own | (environ or {})
        self.url = ""
        self._command = [str(COMMAND)]
        if first is not None:
            main = "import sys\nfrom server.cli import main\nsys.exit(main(sys.argv[1:]))"
            self._command = [sys.executable, "-c", f"{first}\n{main}"]

    @property
    def said(self) -> str:
        """Everything it wrote so far."""
        return "".join((self.folder / name).read_text() for name in ("stdout", "stderr"))

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        out, err = (self.folder / name for name in ("stdout", "stderr"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*self._command, "serve", *self._flags],
                cwd=self.folder,
                env=self._environ,
                stdout=stdout,
                stderr=stderr,
            )
        self._wait_until_ready()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def signal(self, sig: signal.Signals) -> None:
        self._process.send_signal(sig)

    def wait(self, timeout_s: float = 20.0) -> int:
        """Its exit status."""
        return self._process.wait(timeout_s)

    def wait_until_it_said(self, text: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.said:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(f"it never said {text!r}, but: {self.said}")
            time.sleep(0.02)

    def _wait_until_ready(self) -> None:
        self.wait_until_it_said("serves http")
        found = _ADDRESS.search(self.said)
        assert found is not None
        self.url = found[1]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"it was never ready: {self.said}")
