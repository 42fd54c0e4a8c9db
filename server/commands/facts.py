"""`p2l-router facts`: shows what is known about models, and the sources."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from server.build import settings_from
from server.commands.flags import add_config
from server.commands.outputs import left, table_lines
from server.config.configured_facts import facts_of_model
from server.config.facts_file import book_in_force, default_path
from server.config.file import ConfigError
from server.config.settings import Settings
from server.model_facts.book import VENDORS, Book, bundled_book
from server.model_facts.litellm_map import MapError
from server.model_facts.show import as_document, as_lines
from server.model_facts.types import ModelFacts
from server.model_facts.update import Difference, difference, table_from, write

_COLUMNS: Final = (
    *(left("model"), left("seller"), "USD in / out", "window", "output"),
    left("thinks"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("model", nargs="?", metavar="MODEL",
                        help="A model's name, in any spelling (default: all models).")  # fmt: skip
    parser.add_argument("--seller", metavar="NAME",
                        help="Only models as this company serves them, for example openai, azure "
                             "or groq.")  # fmt: skip
    add_config(parser, more="A model is shown as it is configured there.")
    parser.add_argument(
        "--update",
        type=Path,
        metavar="FILE",
        help="Renew the table from this file (a wheel of LiteLLM, LiteLLM's map of models or a "
        "table of facts), and show what changed.",
    )
    parser.add_argument("--sha256", metavar="HEX",
                        help="Refuse the file of --update unless it has this SHA-256 "
                             "checksum.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises ConfigError."""
    settings = _settings(args.config)
    path = None if settings is None else settings.facts.path
    if args.update is not None:
        return _update(args, default_path() if path is None else path)
    book = book_in_force(path)
    if args.model is None:
        _print_all(book, args)
    else:
        _print_one(_facts(args, settings, book), as_json=args.json)
    return 0


def _settings(config: str | None) -> Settings | None:
    """The settings; None: no configuration is given, and only the table is shown."""
    named = config or os.environ.get("P2L_CONFIG")
    return None if named is None else settings_from(named)


def _facts(args: argparse.Namespace, settings: Settings | None, book: Book) -> ModelFacts:
    model = None if settings is None else settings.models.get(args.model)
    if settings is None or model is None or args.seller is not None:
        return book.facts_of(args.model, args.seller)
    return facts_of_model(args.model, model, settings.providers[model.provider], book)


def _print_one(facts: ModelFacts, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(as_document(facts)))
    else:
        print("\n".join(as_lines(facts)))


def _print_all(book: Book, args: argparse.Namespace) -> None:
    sellers = VENDORS if args.seller is None else (args.seller,)
    pairs = [pair for pair in book.models() if pair[0] in sellers]
    names = sorted(pairs, key=lambda pair: (sellers.index(pair[0]), pair[1]))
    records = [book.facts_of(name, seller) for seller, name in names]
    if args.json:
        data = [as_document(facts) for facts in records]
        print(json.dumps({"as_of": book.as_of.isoformat(), "table": book.where, "data": data}))
        return
    print(f"table of {book.as_of} ({book.where})")
    print("\n".join(table_lines(_COLUMNS, map(_cells, records))))


def _cells(facts: ModelFacts) -> tuple[str, ...]:
    price = "unknown"
    if facts.prices is not None:
        base = facts.prices.normal.base
        price = f"{base.input_usd_per_mtok:f} / {base.output_usd_per_mtok:f}"
    limits = facts.limits
    window = "" if limits.context_window is None else f"{limits.context_window:,}"
    most = "" if limits.max_output_tokens is None else f"{limits.max_output_tokens:,}"
    ends = "" if facts.retirement is None else f", ends {facts.retirement.on}"
    thinks = facts.thinking.use.replace("_", " ")
    return facts.name, facts.seller or "", price, window, most, f"{thinks}{ends}"


def _update(args: argparse.Namespace, target: Path) -> int:
    try:
        document = table_from(args.update, args.sha256, datetime.now(UTC).date())
    except MapError as error:
        raise ConfigError(f"--update: {error}") from None
    except OSError as error:
        raise ConfigError(
            f"--update: {args.update} cannot be read: {error.strerror or error}"
        ) from None
    changes = difference(_book_before(target), document)
    try:
        write(document, target)
    except OSError as error:
        raise ConfigError(f"--update: {target} cannot be written: {error.strerror}") from None
    if args.json:
        print(json.dumps(_as_json(changes) | {"written": str(target)}))
    else:
        print(_as_text(changes))
        print(f"written: {target}", file=sys.stderr)
    return 0


def _book_before(target: Path) -> Book:
    """The previous table. One that cannot be read is replaced."""
    try:
        return book_in_force(target) if target.exists() else bundled_book()
    except ConfigError:
        return bundled_book()


def _as_json(found: Difference) -> dict[str, Any]:
    return {
        "added": [{"seller": seller, "model": model} for seller, model in found.added],
        "removed": [{"seller": seller, "model": model} for seller, model in found.removed],
        "changed": [
            {
                "seller": one.seller,
                "model": one.model,
                "cell": one.cell,
                "before": one.before,
                "after": one.after,
            }
            for one in found.changed
        ],
    }


def _as_text(found: Difference) -> str:
    lines = [f"+ {model} ({seller})" for seller, model in found.added]
    lines += [f"- {model} ({seller})" for seller, model in found.removed]
    for one in found.changed:
        before, after = one.before or "nothing", one.after or "nothing"
        lines.append(f"~ {one.model} ({one.seller}) {one.cell}: {before} -> {after}")
    counts = f"{len(found.added)} added, {len(found.removed)} removed"
    lines.append(f"{counts}, {len(found.changed)} cells changed")
    return "\n".join(lines)
