"""`p2l-router model`: serves a checkpoint's leaderboards over HTTP."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from p2l_model.engine.options import DTYPES, ENGINES, EngineOptions
from p2l_model.errors import P2LError
from server.commands.flags import port
from server.config.environment import variable
from server.config.file import ConfigError
from server.config.secret import Secret
from server.process.tcp import AT_REST_S
from server.wire.hosts import is_loopback

# The seconds for prompts that are being scored when the service is stopped: less than a container
# is given to end.
_LAST_SCORES_S = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; those that a container sets can also be set in the environment."""
    env = os.environ
    parser.add_argument("--checkpoint", default=env.get("P2L_CHECKPOINT", "bundled"), metavar="DIR",
                        help="A checkpoint folder, or the word bundled, which is the default "
                             "(environment: P2L_CHECKPOINT).")  # fmt: skip
    parser.add_argument("--engine", default=env.get("P2L_ENGINE", "auto"), choices=ENGINES,
                        help="What computes the predictions. The default, auto, takes onnx where "
                             "the checkpoint has a graph for the CPU, or else torch "
                             "(environment: P2L_ENGINE).")  # fmt: skip
    parser.add_argument("--host", default=env.get("P2L_HOST", "127.0.0.1"),
                        help="The address to listen on (default: 127.0.0.1; environment: "
                             "P2L_HOST).")  # fmt: skip
    parser.add_argument("--port", type=port, default=env.get("P2L_PORT", "8001"),
                        help="The port to listen on (default: 8001; environment: "
                             "P2L_PORT).")  # fmt: skip
    parser.add_argument("--api-key-env", default="P2L_MODEL_API_KEY", metavar="NAME",
                        help="The environment variable with the key that callers must send, as "
                             "api-key or as Authorization: Bearer (default: P2L_MODEL_API_KEY). "
                             "Without a key, only loopback addresses can be listened "
                             "on.")  # fmt: skip
    _add_bounds(parser)
    _add_engine_options(parser)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-tokens", type=int, metavar="N",
                        help="Read only the last N tokens of each prompt.")  # fmt: skip
    parser.add_argument("--max-waiting", type=int, default=1024, metavar="N",
                        help="How many prompts may wait at a time; further ones are answered "
                             "with status 503 (default: 1024).")  # fmt: skip
    parser.add_argument("--cache-size", type=int, default=4096, metavar="N",
                        help="How many leaderboards to remember; 0 turns the cache off "
                             "(default: 4096).")  # fmt: skip
    parser.add_argument("--max-body-bytes", type=int, default=20_000_000, metavar="N",
                        help="The largest request that is accepted (default: "
                             "20000000).")  # fmt: skip


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=0, metavar="N",
                        help="How many CPU threads compute one prompt, one prompt at a time. The "
                             "default, 0, computes several prompts at once with one thread each "
                             "(torch: one prompt with all cores).")  # fmt: skip
    parser.add_argument("--dtype", default="auto", choices=DTYPES,
                        help="The number format of the backbone, for torch and vllm.")  # fmt: skip
    parser.add_argument("--compile", action="store_true",
                        help="Compile the backbone with torch.compile.")  # fmt: skip
    parser.add_argument("--batch-tokens", type=int, metavar="N",
                        help="The most tokens in one batch.")  # fmt: skip
    parser.add_argument("--vllm-url", action="append", default=[], metavar="URL",
                        help="Use a vLLM server that has this checkpoint, in place of vLLM inside "
                             "this process. The flag can be given several times.")  # fmt: skip
    parser.add_argument("--vllm-arg", action="append", default=[], metavar="KEY=JSON",
                        help="An argument of vLLM's LLM class, for example "
                             "tensor_parallel_size=2. The flag can be given several "
                             "times.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop; returns the exit status. Raises ConfigError, P2LError."""
    key = Secret(variable(args.api_key_env, os.environ))
    _check(args, key)
    options = engine_options(args)

    import uvicorn

    from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
    from p2l_model.engine.local import LocalScorer
    from server.auth.authenticator import Authenticator
    from server.scoring.service.app import create_model_app
    from server.scoring.service.metrics import ServiceMetrics
    from server.scoring.service.service import ModelService, ServiceLimits

    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint)).limited(args.max_tokens)
    failures: list[P2LError] = []

    def load(metrics: ServiceMetrics) -> LocalScorer:
        scorer = LocalScorer.warmed(
            checkpoint,
            args.engine,
            options,
            max_waiting=args.max_waiting,
            cache_size=args.cache_size,
            observer=metrics,
        )
        print(f"p2l-router model: ready ({args.engine})", file=sys.stderr, flush=True)
        return scorer

    def failed(error: P2LError) -> None:
        failures.append(error)
        server.should_exit = True

    authenticator = Authenticator.of_key(key)
    limits = ServiceLimits(args.max_body_bytes, max_conversations=args.max_waiting)
    service = ModelService(checkpoint, load, authenticator, limits, failed)
    config = uvicorn.Config(
        create_model_app(service),
        host=args.host,
        port=args.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_SCORES_S,
        timeout_keep_alive=AT_REST_S,
    )
    server = uvicorn.Server(config)
    _announce(args, len(checkpoint.manifest.models), checkpoint.max_tokens)
    server.run()
    if failures:
        raise failures[0]
    return 0


def engine_options(args: argparse.Namespace) -> EngineOptions:
    """The options of the engine. Raises ConfigError."""
    return EngineOptions(
        n_threads=args.threads,
        dtype=args.dtype,
        compile=args.compile,
        batch_tokens=args.batch_tokens,
        vllm_urls=tuple(args.vllm_url),
        vllm_args=dict(_argument(one) for one in args.vllm_arg),
    )


def _argument(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if not name.isidentifier() or not value:
        raise ConfigError(f"--vllm-arg {text!r} must be KEY=VALUE, e.g. tensor_parallel_size=2")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _check(args: argparse.Namespace, key: Secret) -> None:
    for flag in ("max_waiting", "max_body_bytes"):
        if getattr(args, flag) < 1:
            raise ConfigError(f"--{flag.replace('_', '-')} must be at least 1")
    if args.cache_size < 0:
        raise ConfigError("--cache-size must be at least 0 (0: nothing is remembered)")
    if not key and not is_loopback(args.host):
        raise ConfigError(
            f"--host {args.host} would let anybody on the network use the model: set the variable "
            f"{args.api_key_env} to the key that callers must send, or use 127.0.0.1"
        )


def _announce(args: argparse.Namespace, n_models: int, max_tokens: int) -> None:
    url = f"http://{args.host}:{args.port}"
    print(
        f"p2l-router model serves {url}\n"
        f"  {args.checkpoint}: {n_models} models, {max_tokens} tokens; loading\n"
        f"  try: curl -s {url}/predict -H 'content-type: application/json' "
        '-d \'{"prompt": ["Hello"]}\'',
        file=sys.stderr,
        flush=True,
    )
