"""`p2l-router serve`: runs the gateway."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from router.catalog import ModelCard
from server.alerts.sending import target_of
from server.auth.authenticator import Authenticator, MissingKeyError
from server.build import (
    build_scorer,
    build_store,
    build_upstreams,
    database_of,
    leaderboard_names,
    redis_url,
    settings_from,
)
from server.catalogue.cards import build_catalogue
from server.commands.announcement import announcement
from server.commands.flags import WRITTEN, add_config, port
from server.config.defaults import missing_variables
from server.config.file import ConfigError
from server.config.ledger_place import ledger_place
from server.config.settings import Settings
from server.process.collecting import without_collecting
from server.readiness.objectives import check_objectives
from server.serving.sockets import accepting, address_of, bind, inherited
from server.serving.supervisor import Supervisor
from server.storage.keys import read_key_ring
from server.storage.migrate import migrate
from server.telemetry.logs import FORMATS, configure, say_always
from server.wire.hosts import is_loopback

if TYPE_CHECKING:
    from server.serving.server import GatewayServer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; each can also be set in the environment."""
    env = os.environ
    add_config(parser, default=env.get("P2L_CONFIG"))
    parser.add_argument("--host", default=env.get("P2L_HOST", "127.0.0.1"),
                        help="The address to listen on (default: 127.0.0.1; environment: "
                             "P2L_HOST).")  # fmt: skip
    parser.add_argument("--port", type=port, default=env.get("P2L_PORT", "8000"),
                        help="The port to listen on; 0 takes any free one (default: 8000; "
                             "environment: P2L_PORT).")  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=env.get("P2L_WORKERS", "1"), metavar="N",
        help="How many processes share the port, each with a scorer and limits of its own "
             "(default: 1; environment: P2L_WORKERS).",
    )  # fmt: skip
    parser.add_argument(
        "--log-level", default=env.get("P2L_LOG_LEVEL", "warning"),
        choices=["debug", "info", "warning", "error"],
        help="What to log; info writes one line for every attempt at a provider (default: "
             "warning; environment: P2L_LOG_LEVEL).",
    )  # fmt: skip
    parser.add_argument(
        "--log-format", default=env.get("P2L_LOG_FORMAT", "text"), choices=FORMATS,
        help="How to log; json writes one JSON object per line (default: text; environment: "
             "P2L_LOG_FORMAT).",
    )  # fmt: skip
    # The socket on which a parent process listens.
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop; returns the exit status. Raises ConfigError,
    CheckpointError, StorageError."""
    configure(args.log_level, args.log_format)
    settings = settings_from(args.config)
    try:
        authenticator = Authenticator.from_settings(settings.auth, os.environ)
    except MissingKeyError as error:
        raise ConfigError(str(error)) from error
    if args.workers < 1:
        raise ConfigError("--workers must be at least 1")
    if not is_loopback(args.host) and not _has_keys(settings, authenticator):
        raise _open_to_all(args.host)
    if args.workers > 1:
        check_shared(settings)
    if args.workers == 1 or args.fd is not None:
        return _serve(args, settings, authenticator)
    with _listener(args) as listener:
        catalogue = build_catalogue(settings)
        check_objectives(settings, catalogue)
        build_upstreams(settings, catalogue)  # a missing key is reported once, not by every worker
        names = leaderboard_names(settings.scorer)
        _announce(args, settings, catalogue, names, listener, authenticator)
        return Supervisor(_flags(args), listener, args.workers, settings.limits.drain_s).run()


def _serve(args: argparse.Namespace, settings: Settings, authenticator: Authenticator) -> int:
    with _listener(args) as listener:
        with without_collecting():
            server = _built(args, settings, authenticator, listener)
        server.run(sockets=accepting(listener))
    return 0


def _built(
    args: argparse.Namespace,
    settings: Settings,
    authenticator: Authenticator,
    listener: socket.socket,
) -> GatewayServer:
    from server.app import create_app
    from server.serving.protocol import ConnectionLimits, protocol_factory
    from server.serving.reload import Reloader
    from server.serving.server import GatewayServer, server_config

    catalogue = build_catalogue(settings)
    if args.fd is None:
        check_objectives(settings, catalogue)
    target_of(settings.alerts)  # its variables are there
    upstreams = build_upstreams(settings, catalogue)
    store = build_store(settings.storage)
    store.start()
    scorer = build_scorer(settings.scorer)
    app = create_app(settings, scorer, upstreams, catalogue, authenticator, store)
    if args.fd is None:
        _announce(args, settings, catalogue, scorer.models, listener, authenticator)
    return GatewayServer(
        server_config(app, protocol_factory(ConnectionLimits.of(settings.limits))),
        app.state.p2l.gateway.admission,
        drain_s=settings.limits.drain_s,
        reload=Reloader(
            app.state.p2l, args.config, check=check_shared if args.fd is not None else _anything
        ),
    )


def _listener(args: argparse.Namespace) -> socket.socket:
    if args.fd is not None:
        return inherited(args.fd)
    try:
        return bind(args.host, args.port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {args.host}:{args.port}: {error.strerror}: stop what listens there, "
            "or take another port (--port 0: any)"
        ) from error


def _flags(args: argparse.Namespace) -> list[str]:
    """The flags for a worker. The address is bound by the parent; here it is only checked."""
    flags = ["--host", args.host, "--log-level", args.log_level, "--log-format", args.log_format]
    return flags if args.config is None else [*flags, "--config", args.config]


def _announce(
    args: argparse.Namespace,
    settings: Settings,
    catalogue: Sequence[ModelCard],
    names: Sequence[str],
    listener: socket.socket,
    authenticator: Authenticator,
) -> None:
    bare = args.config is None and not os.environ.get("P2L_CONFIG")
    missing = missing_variables(os.environ) if bare else []
    place = ledger_place(settings.storage, os.environ)
    ledger = None if place is None else place.said
    said = announcement(settings, catalogue, names, address_of(listener), missing, ledger,
                        needs_key=_has_keys(settings, authenticator))  # fmt: skip
    if bare and Path(WRITTEN).is_file():
        said += f"\n  note: {WRITTEN} in this folder is not used: give --config {WRITTEN}"
    if args.log_format == "json":
        say_always(said)
    else:
        print(said, file=sys.stderr, flush=True)


def check_shared(settings: Settings) -> None:
    """Raises ConfigError for state that several processes would have to share and cannot."""
    keys = settings.auth.keys
    limited = [k for k in keys if k.budget_usd or k.requests_per_minute or k.tokens_per_minute]
    limited += [k for k in keys if k.session_budget_usd is not None]
    shared = settings.routing.window_budgets or settings.routing.sessions.budget_usd is not None
    if (shared or limited) and redis_url(settings.redis) is None:
        raise ConfigError(
            "--workers: each worker would keep budgets and rates of its own, and together they "
            "would spend several times as much: set redis.url, or use one worker"
        )


def _anything(_: Settings) -> None:
    """Accepts everything: a single process shares no state."""


def _open_to_all(host: str) -> ConfigError:
    return ConfigError(
        f"--host {host} would let anybody on the network spend your money: add a key under "
        "auth.keys in the configuration ({name: me, key_env: MY_ROUTER_KEY}), create one with "
        "`p2l-router keys create NAME`, or use 127.0.0.1"
    )


def _has_keys(settings: Settings, authenticator: Authenticator) -> bool:
    """Whether there are keys in the configuration or stored. A revoked stored key counts: the
    gateway stays closed."""
    if not authenticator.is_open:
        return True
    database = database_of(settings.storage, say=None)
    try:
        migrate(database)
        return not read_key_ring(database).is_empty
    finally:
        database.close()
