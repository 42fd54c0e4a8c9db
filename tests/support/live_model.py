"""A real model service on a real port: uvicorn in a thread, as `p2l-router model` runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import uvicorn
from quick_server import QuickServer

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.engine.base import Engine
from p2l_model.engine.load import load_engine
from p2l_model.engine.local import LocalScorer
from p2l_model.errors import P2LError
from server.auth.authenticator import Authenticator
from server.config.secret import Secret
from server.scoring.service.app import create_model_app
from server.scoring.service.metrics import ServiceMetrics
from server.scoring.service.service import ModelService, ServiceLimits


class LiveModel:
    """engine: made of the checkpoint; its own by default. port: 0 for a free one."""

    def __init__(
        self,
        folder: Path,
        *,
        engine: Callable[[Checkpoint], Engine] = load_engine,
        key: str = "",
        limits: ServiceLimits | None = None,
        max_waiting: int = 64,
        cache_size: int = 0,
        port: int = 0,
    ) -> None:
        checkpoint = load_checkpoint(folder)

        def load(metrics: ServiceMetrics) -> LocalScorer:
            made = engine(checkpoint)
            made.warm_up()
            return LocalScorer(
                checkpoint, made, max_waiting=max_waiting, cache_size=cache_size, observer=metrics
            )

        self.failures: list[P2LError] = []
        authenticator = Authenticator.of_key(Secret(key))
        self.service = ModelService(
            checkpoint, load, authenticator, limits or ServiceLimits(), self.failures.append
        )
        self.app = create_model_app(self.service)
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=port, log_level="error", access_log=False
        )
        self.server = QuickServer(config)

    @property
    def url(self) -> str:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def start(self) -> Self:
        """Returns when it answers; the engine may still be loading."""
        self.server.start()
        return self

    def until_ready(self) -> Self:
        _until(lambda: httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200)
        return self

    def stop(self) -> None:
        self.server.stop()

    def __enter__(self) -> Self:
        return self.start().until_ready()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the service did not get so far")
        time.sleep(0.01)
