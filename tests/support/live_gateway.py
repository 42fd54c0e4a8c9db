"""A real gateway on a real port: uvicorn in a thread, as `p2l-router serve` runs it."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import yaml
from quick_server import QuickServer

from p2l_model.engine.scorer import Scorer
from server.app import create_app
from server.build import build_scorer, build_store, build_upstreams
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.config.settings import Settings, StorageSettings
from server.serving.protocol import ConnectionLimits, protocol_factory
from server.serving.server import server_config
from server.serving.sockets import address_of, bind
from server.state import State
from server.storage.database import Database
from server.storage.migrate import migrate

_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
# Of bytes: many times what the ledgers of one process take at a time.
_ROOM: Final = 2**28


class LiveGateway:
    """config: YAML. environ: what the configuration's variables hold. keepalive_s: the silence that
    the caller of a stream is let sit through."""

    def __init__(
        self,
        config: str,
        environ: dict[str, str] | None = None,
        scorer: Scorer | None = None,
        loop: str = "auto",
        keepalive_s: float | None = None,
    ) -> None:
        from server.auth.authenticator import Authenticator

        settings = settings_of(config)
        self._folder = tempfile.TemporaryDirectory(dir=_memory())
        if "storage" not in settings.model_fields_set:
            path = Path(self._folder.name) / "p2l-router.db"
            path.write_bytes(_empty_ledger())
            storage = StorageSettings(url=f"sqlite:///{path}")
            settings = settings.model_copy(update={"storage": storage})
        catalogue = build_catalogue(settings)
        self.catalogue = catalogue
        app = create_app(
            settings,
            scorer or build_scorer(settings.scorer),
            build_upstreams(settings, catalogue, environ or {}),
            catalogue,
            Authenticator.from_settings(settings.auth, environ or {}),
            build_store(settings.storage, environ or {}),
        )
        self.app = app
        self.state: State = app.state.p2l
        self.health = self.state.gateway.health
        if keepalive_s is not None:
            self.state.keepalive_s = keepalive_s
        protocol = protocol_factory(ConnectionLimits.of(settings.limits))
        serving = server_config(app, protocol)
        serving.loop = loop
        self._server = QuickServer(serving)
        self._listener = bind("127.0.0.1", 0)

    @property
    def url(self) -> str:
        return self._url

    def __enter__(self) -> Self:
        self._url = f"http://{address_of(self._listener)}"
        self._server.start([self._listener])
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._folder.cleanup()


def settings_of(config: str) -> Settings:
    """What parse_settings says. The YAML is read by the library in C, which takes a sixth of the
    time, and which the program does not use: it crashes where a text is nested very deeply."""
    try:
        return Settings.model_validate(yaml.load(config, _LOADER))
    except (yaml.YAMLError, ValueError):
        return parse_settings(config)


@functools.cache
def _memory() -> Path | None:
    """A folder in memory, where there is one with room: a ledger there waits for no disk."""
    folder = Path("/dev/shm")
    has_room = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM
    return folder if has_room else None


@functools.cache
def _empty_ledger() -> bytes:
    """A database of the newest schema. To make one takes as long as all else of a gateway."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p2l-router.db"
        database = Database(f"sqlite:///{path}")
        migrate(database)
        database.close()
        return path.read_bytes()


def config_for(base_url: str, extra: str = "", *, patience_s: float = 20) -> str:
    """Three models at one provider: dear and good, middling, cheap and poor. patience_s: how long
    the provider is waited for. A test that lets it be silent sets less; with less, a model that is
    slow on a busy machine would be left for another one."""
    names = ("connect", "first_byte", "idle")
    limits = ", ".join(f"{name}_timeout_s: {patience_s}" for name in names)
    return f"""
providers:
  main: {{kind: openai, base_url: "{base_url}", api_key_env: MAIN_KEY, {limits}}}
models:
  dear: {{provider: main, upstream_model: up-dear, input_usd_per_mtok: 5, output_usd_per_mtok: 15,
         cached_input_usd_per_mtok: 2.5, context_window: 128000, expected_output_tokens: 100}}
  middle: {{provider: main, upstream_model: up-middle, input_usd_per_mtok: 1,
           output_usd_per_mtok: 3, capabilities: [tools], expected_output_tokens: 100}}
  cheap: {{provider: main, upstream_model: up-cheap, input_usd_per_mtok: 0.1,
          output_usd_per_mtok: 0.3, capabilities: [], expected_output_tokens: 100}}
scorer: {{fixed: {{dear: 1.5, middle: 0.4, cheap: -0.7, elsewhere: 0.1}}}}
{extra}
"""
