"""`p2l-router route`: what would be chosen, without sending anything."""

from __future__ import annotations

import argparse
import asyncio
import random
from typing import Any

from starlette.datastructures import Headers

from p2l_model.errors import DataError
from server.auth import Caller
from server.build import build_scorer, settings_from
from server.catalogue import build_catalogue
from server.chat_request import parse_chat_request
from server.commands.prompts import add_prompt_arguments, print_results, read_prompts
from server.decision_view import decision_json
from server.errors import ApiError
from server.gateway import Gateway
from server.ledger.accounts import Accounts, NoLedger
from server.options import parse_options
from server.plan import Planner
from server.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    add_prompt_arguments(parser)
    parser.add_argument("--config", help="YAML (default: as serve without one)")
    parser.add_argument("--budget", metavar="USD", help="for each prompt")
    parser.add_argument("--budget-mode", metavar="MODE", help="expected (default) or hard")
    parser.add_argument("--seed", help="makes the draw repeatable")


def run(args: argparse.Namespace) -> int:
    """Raises P2LError, ConfigError."""
    prompts, many = read_prompts(args)
    settings = settings_from(args.config)
    try:
        results = asyncio.run(_decide_all(settings, prompts, _headers(args)))
    except ApiError as error:
        raise DataError(f"{error.code}: {error.message}") from error
    if args.json:
        print_results(results, many)
    else:
        print("\n".join(_sentence(result) for result in results))
    return 0


def _headers(args: argparse.Namespace) -> Headers:
    given = {
        "x-cost-budget": args.budget,
        "x-cost-budget-mode": args.budget_mode,
        "x-route-seed": args.seed,
    }
    return Headers({name: value for name, value in given.items() if value is not None})


async def _decide_all(
    settings: Settings, prompts: list[list[dict[str, Any]]], headers: Headers
) -> list[dict[str, Any]]:
    """The same path as POST /v1/route, without HTTP."""
    scorer = build_scorer(settings.scorer)
    planner = Planner(build_catalogue(settings), settings.routing, settings.scorer, scorer)
    gateway = Gateway(
        planner,
        {},
        max_concurrency=1,
        fallbacks=0,
        entropy=random.SystemRandom(),
        accounts=Accounts(NoLedger()),
    )
    results = []
    for index, messages in enumerate(prompts, 1):
        request = parse_chat_request({"model": "p2l", "messages": messages})
        plan = await planner.plan(request, parse_options(headers, {}), Caller("command line"))
        board, score_ms = await planner.leaderboard(plan)
        decision = gateway.route(plan, board, score_ms).decision
        results.append(decision_json(decision, f"dry_{index}", plan.scoring))
    await scorer.close()
    return results


def _sentence(decision: dict[str, Any]) -> str:
    return f"{decision['model']}\n  {decision['explanation']}"
