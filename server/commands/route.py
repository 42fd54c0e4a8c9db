"""`p2l-router route`: shows what would be chosen, without sending anything."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.datastructures import Headers

from p2l_model.errors import DataError
from server.accounts.accounts import Accounts, NoLedger
from server.auth.authenticator import Caller
from server.build import build_scorer, settings_from
from server.catalogue.cards import build_catalogue
from server.commands.flags import add_config
from server.commands.prompts import add_prompt_arguments, print_results, read_prompts
from server.config.configured_facts import facts_of_models
from server.config.settings import Settings
from server.endpoints.decision_json import decision_json
from server.errors import ApiError
from server.gateway.admission import Admission
from server.gateway.gateway import Gateway
from server.gateway.planner import Planner
from server.gateway.receipt import checkpoint_version, exchange_receipt
from server.gateway.routed_request import Exchange
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import parse_options

# Header -> the flag in its place.
_FLAGS: Final = {
    "X-Cost-Budget": "--budget",
    "X-Cost-Budget-Mode": "--budget-mode",
    "X-Route-Seed": "--seed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_prompt_arguments(parser)
    add_config(parser)
    parser.add_argument("--budget", metavar="USD",
                        help="The budget of each prompt, for example 0.002.")  # fmt: skip
    parser.add_argument("--budget-mode", metavar="MODE",
                        help="expected (the default): the mean cost of the draw is within the "
                             "budget. hard: this one request cannot cost more.")  # fmt: skip
    parser.add_argument("--seed", metavar="N",
                        help="A whole number that makes the draw repeatable.")  # fmt: skip
    parser.add_argument("--receipt", metavar="FILE",
                        help="Write the receipt of the decision there. It needs a single "
                             "prompt.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError, ConfigError."""
    prompts, many = read_prompts(args)
    if args.receipt is not None and len(prompts) != 1:
        raise DataError("--receipt needs a single prompt")
    settings = settings_from(args.config)
    try:
        exchanges = asyncio.run(_decide_all(settings, prompts, _headers(args)))
    except ApiError as error:
        raise DataError(f"{error.code}: {_by_flag(error)}") from error
    if args.receipt is not None:
        _write_receipt(Path(args.receipt), exchanges[0], settings)
    results = [
        {**decision_json(e.decision, e.plan), "request_id": f"dry_{k}"}
        for k, e in enumerate(exchanges, 1)
    ]
    if args.json:
        print_results(results, many)
    else:
        print("\n".join(_sentence(result) for result in results))
    return 0


def _by_flag(error: ApiError) -> str:
    """The message, with the flag's name in place of the header's."""
    flag = _FLAGS.get(error.param or "")
    return error.message if flag is None else error.message.replace(str(error.param), flag)


def _headers(args: argparse.Namespace) -> Headers:
    given = {
        "x-cost-budget": args.budget,
        "x-cost-budget-mode": args.budget_mode,
        "x-route-seed": args.seed,
    }
    return Headers({name: value for name, value in given.items() if value is not None})


async def _decide_all(
    settings: Settings, prompts: list[list[dict[str, Any]]], headers: Headers
) -> list[Exchange]:
    """Decides by the same path as POST /v1/route, without HTTP."""
    scorer = build_scorer(settings.scorer)
    planner = Planner(
        build_catalogue(settings),
        settings.routing,
        settings.scorer,
        scorer,
        facts=facts_of_models(settings),
    )
    gateway = Gateway(
        planner,
        {},
        admission=Admission(1),
        entropy=random.SystemRandom(),
        accounts=Accounts(NoLedger()),
    )
    exchanges = []
    for messages in prompts:
        request = parse_chat_request({"model": "p2l", "messages": messages})
        plan = await planner.plan(request, parse_options(headers, {}), Caller("command line"))
        board, score_ms = await planner.leaderboard(plan)
        exchanges.append(gateway.route(plan, board, score_ms))
    await scorer.close()
    return exchanges


def _write_receipt(path: Path, exchange: Exchange, settings: Settings) -> None:
    receipt = exchange_receipt(
        exchange, created_s=int(time.time()), checkpoint=checkpoint_version(settings.scorer)
    )
    path.write_bytes(orjson.dumps(receipt, option=orjson.OPT_INDENT_2))


def _sentence(decision: dict[str, Any]) -> str:
    return f"{decision['model']}\n  {decision['explanation']}"
