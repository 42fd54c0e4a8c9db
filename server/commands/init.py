"""`p2l-router init`: writes a first configuration from the keys that are there."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from p2l_model.errors import DataError, P2LError
from server.commands.flags import WRITTEN
from server.commands.outputs import left, print_table
from server.config.defaults import SANDBOX, known_variables
from server.config.facts_file import book_in_force
from server.config.file import parse_settings
from server.endpoints.decision_json import plain
from server.setup.clients import ANY_KEY, ClientLine, client_lines, openai_sdk
from server.setup.configuration import Choices, configuration, per_thousand, price
from server.setup.found import Found, FoundModel, find
from server.setup.providers import candidates, known_names, with_keys
from server.setup.suggesting import Suggestion, rule_for, suggest
from server.setup.trying import Tried, not_asked, try_all

_URL = "http://127.0.0.1:8000"
_NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; each stands for the answer to a question."""
    parser.add_argument(
        "--provider", action="append", metavar="NAME[=URL]",
        help="Use this provider; may be given again. NAME is one of "
             f"{', '.join(known_names())} or sandbox; NAME=URL is another address, or another "
             "server that speaks OpenAI's API, with its key in NAME_API_KEY if it wants one "
             "(default: all whose keys are in the environment).",
    )  # fmt: skip
    parser.add_argument("--usd-per-win", metavar="USD",
                        help="What a certain win is worth, or none: the best model is always "
                             "taken (default: a suggestion by your models' prices).")  # fmt: skip
    parser.add_argument("--daily-usd", metavar="USD",
                        help="The budget of all requests in any 24 hours, or none (default: a "
                             "suggestion).")  # fmt: skip
    parser.add_argument("--budget-usd", metavar="USD",
                        help="The budget of a request that brings none, or none (default: "
                             "none).")  # fmt: skip
    parser.add_argument("--offline", action="store_true",
                        help="Ask no provider: keys are not tried, and the models are those of "
                             "the table of facts.")  # fmt: skip
    parser.add_argument("--out", default=WRITTEN, metavar="FILE",
                        help="Where to write the configuration (default: "
                             "p2l-router.yaml).")  # fmt: skip
    parser.add_argument("--force", action="store_true",
                        help="Write over a file that is there.")  # fmt: skip
    parser.add_argument("--yes", action="store_true",
                        help="Ask nothing and take all suggestions; needed where there is no "
                             "terminal.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status, 1 where no provider can be used. Raises DataError,
    ConfigError, CheckpointError."""
    asks = sys.stdin.isatty() and not args.yes
    if not asks and not args.yes:
        raise DataError(
            "init asks questions, and this is not a terminal: give --yes to take all suggestions"
        )
    _check_amounts(args)
    path = Path(args.out)
    may_replace = _may_replace(path, asks=asks, force=args.force)
    today = datetime.now(UTC).date()
    asked = candidates(_names(args, asks=asks), os.environ)
    if args.offline:
        tried = not_asked(asked, os.environ)
    else:
        tried = asyncio.run(try_all(asked, os.environ, today))
    _say_tried(tried)
    if all(one.problem is not None for one in tried):
        raise P2LError(
            "no provider can be used, so no configuration was written: mend what the table says, "
            "or give --offline to write one without asking them"
        )
    found = find(tried, book_in_force(None), today)
    if not found.models:
        raise P2LError(
            "no provider offers a model that is known here, so no configuration was written"
        )
    _say_models(found.models)
    suggestion = suggest(found.models)
    choices = _choices(args, found, suggestion, asks=asks)
    text = configuration(args.out, tried, found, suggestion, choices, today)
    parse_settings(text, args.out)  # what is written can be read
    _write(path, text, may_replace=may_replace)
    lines = client_lines(_URL)
    if args.json:
        print(json.dumps(_report(args.out, tried, found, choices, lines)))
    else:
        print("\n".join(_next(args.out, lines)))
    return 0


def _names(args: argparse.Namespace, *, asks: bool) -> list[str]:
    """The providers to use. Raises DataError where there is none."""
    if args.provider is not None:
        return list(args.provider)
    names = with_keys(os.environ)
    if not names:
        raise DataError(
            f"no provider's key is in the environment ({', '.join(known_variables())}): set one, "
            "as in `export OPENAI_API_KEY=...`; or name a server (--provider "
            f"local=http://127.0.0.1:11434/v1); or try it without a model (--provider {SANDBOX})"
        )
    if not asks:
        return names
    said = _ask(f"Keys were found for {', '.join(names)}. Use which", ",".join(names))
    return [word for word in said.replace(",", " ").split() if word]


def _may_replace(path: Path, *, asks: bool, force: bool) -> bool:
    """Whether a file that is there may be written over. Raises DataError where the file may not be
    written."""
    if not path.resolve().parent.is_dir():
        raise DataError(f"--out {path}: there is no such folder to write to")
    if force:
        return True
    if not path.exists() and not path.is_symlink():
        return False
    if not asks:
        raise DataError(f"{path} is there already: give --force to write over it, or --out FILE")
    if not _ask(f"{path} is there already. Write over it", "no").lower().startswith("y"):
        raise DataError(f"{path} was left as it is: give --out FILE to write another")
    return True


def _check_amounts(args: argparse.Namespace) -> None:
    for flag in ("usd_per_win", "daily_usd", "budget_usd"):
        given = getattr(args, flag)
        if given is not None:
            _amount(f"--{flag.replace('_', '-')}", given)


def _amount(name: str, text: str) -> Decimal | None:
    """An amount above 0; None for the word none. Raises DataError."""
    if text.strip().lower() == _NONE:
        return None
    with suppress(InvalidOperation):
        amount = Decimal(text.strip())
        if amount.is_finite() and amount > 0:
            return amount
    raise DataError(
        f"{name}: {text[:40]!r} is not an amount in USD: write it with a point, such as 0.02, or "
        f"{_NONE}"
    )


def _ask(question: str, default: str) -> str:
    """The answer of the person at the terminal; the default where the line is empty."""
    print(f"{question} [{default}]: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or default


def _choices(
    args: argparse.Namespace, found: Found, suggestion: Suggestion | None, *, asks: bool
) -> Choices:
    worth = daily = _NONE
    if suggestion is not None:
        worth = _shown(None if suggestion.balanced is None else suggestion.balanced.usd_per_win)
        daily = _shown(suggestion.daily_usd)
    worth = _chosen(args.usd_per_win, "What is a certain win worth, in USD", worth, asks=asks)
    daily = _chosen(args.daily_usd, "Budget of any 24 hours, in USD", daily, asks=asks)
    budget = _chosen(args.budget_usd, "Budget of a request, in USD", _NONE, asks=asks)
    value = _amount("usd_per_win", worth)
    return Choices(
        rule=rule_for(found.models, value),
        usd_per_win=value,
        request_usd=_amount("budget_usd", budget),
        daily_usd=_amount("daily_usd", daily),
    )


def _chosen(given: str | None, question: str, suggested: str, *, asks: bool) -> str:
    if given is not None:
        return given
    return _ask(question, suggested) if asks else suggested


def _shown(amount: Decimal | None) -> str:
    return _NONE if amount is None else plain(amount)


def _say_tried(tried: Sequence[Tried]) -> None:
    print_table(
        "Providers",
        [left("provider"), left("key from"), left("outcome")],
        [(one.candidate.name, one.candidate.variable or "-", one.said) for one in tried],
        sys.stderr,
    )


def _say_models(models: Sequence[FoundModel]) -> None:
    print_table(
        "Models, best first on a usual prompt",
        [left("model"), left("provider"), "USD/Mtok", "place", "win rate",
         "USD/1,000 requests", left("rests on")],
        map(_model_row, models),
        sys.stderr,
    )  # fmt: skip


def _model_row(model: FoundModel) -> tuple[str, ...]:
    place = model.place
    placed = "-"
    if place is not None and model.coefficient is not None:
        placed = f"{model.coefficient:.2f}"
        placed += "" if place.sd == 0 else f" \u00b1{place.sd:.1f}"
    return (
        model.card.name,
        model.card.provider,
        price(model),
        placed,
        "-" if model.win_rate is None else f"{model.win_rate:.0%}",
        "-" if model.usual_usd is None else per_thousand(model.usual_usd),
        "-" if place is None else place.basis,
    )


def _write(path: Path, text: str, *, may_replace: bool) -> None:
    try:
        # A file that has come meanwhile is left alone too, and so is what a link leads to.
        with path.open("w" if may_replace else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def _next(out: str, lines: Sequence[ClientLine]) -> list[str]:
    said = [f"Written: {out}", "Serve it:", f"  p2l-router serve --config {out}"]
    if not lines:
        return [*said, "Point a client at it, for example an OpenAI SDK (model \"p2l\"):",
                f"  {openai_sdk(_URL, ANY_KEY)}"]  # fmt: skip
    for one in lines:
        said += [f"{one.client} ({one.page} has more):", f"  {one.line}"]
    return said


def _report(
    out: str, tried: Sequence[Tried], found: Found, choices: Choices, lines: Sequence[ClientLine]
) -> dict[str, Any]:
    return {
        "written": out,
        "providers": [_provider_json(one) for one in tried],
        "models": [_model_json(model) for model in found.models],
        "usd_per_win": _exact(choices.usd_per_win),
        "budget_usd": _exact(choices.request_usd),
        "daily_usd": _exact(choices.daily_usd),
        "clients": [one._asdict() for one in lines],
    }


def _provider_json(tried: Tried) -> dict[str, Any]:
    return {
        "provider": tried.candidate.name,
        "variable": tried.candidate.variable,
        "ok": tried.problem is None,
        "outcome": tried.said,
    }


def _model_json(model: FoundModel) -> dict[str, Any]:
    prices = model.card.prices
    return {
        "model": model.card.name,
        "provider": model.card.provider,
        "input_usd_per_mtok": None if prices is None else float(prices.input_usd_per_mtok),
        "output_usd_per_mtok": None if prices is None else float(prices.output_usd_per_mtok),
        "coefficient": model.coefficient,
        "rests_on": None if model.place is None else model.place.basis,
        "win_rate": model.win_rate,
        "usual_usd": _exact(model.usual_usd),
    }


def _exact(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
