"""`p2l-router check`: reads the configuration and says what would be routed."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from p2l_model.aliases import canonical
from router.catalog import ModelCard
from server.build import leaderboard_names, settings_from
from server.catalogue import Coverage, build_catalogue, coverage
from server.doctor import OK, connections
from server.networks import network_lines, network_report
from server.objectives import check_objectives
from server.settings import Settings
from server.variables import variable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--config", help="YAML (env: P2L_CONFIG)")
    parser.add_argument(
        "--connect", action="store_true",
        help="also try storage, Redis and providers' hosts; no key is sent",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Exit 2 where serve would refuse to start, 1 where something cannot be reached. Raises
    ConfigError, CheckpointError."""
    settings = settings_from(args.config)
    catalogue = build_catalogue(settings)
    network = network_report(settings, os.environ)
    leaderboard = leaderboard_names(settings.scorer)
    check_objectives(settings, catalogue)
    report = _report(settings, catalogue, coverage(catalogue, leaderboard))
    report |= {"network": network, "ok": report["ok"] and not network["problems"]}
    if args.connect:
        report["connections"] = dict(connections(settings, os.environ))
    if args.json:
        print(json.dumps(report))
    else:
        print(_text(report))
    if not report["ok"]:
        return 2
    return 0 if all(state == OK for state in report.get("connections", {}).values()) else 1


def _report(
    settings: Settings, catalogue: tuple[ModelCard, ...], missing: Coverage
) -> dict[str, Any]:
    keys = _keys(settings)
    return {
        "ok": not any(state == "missing" for state in keys.values()),
        "models": [_model(card, missing) for card in catalogue],
        "keys": keys,
        "without_coefficient": [
            {"model": name, "hint": _hint(name, missing)} for name in missing.without_coefficient
        ],
        "leaderboard_only": list(missing.without_model),
        "without_price": list(missing.without_price),
    }


def _model(card: ModelCard, missing: Coverage) -> dict[str, Any]:
    prices = card.prices
    return {
        "model": card.name,
        "provider": card.provider,
        "upstream_model": card.upstream_model,
        "leaderboard_name": card.leaderboard_name,
        "routed": card.name not in missing.without_coefficient,
        "input_usd_per_mtok": None if prices is None else float(prices.input_usd_per_mtok),
        "output_usd_per_mtok": None if prices is None else float(prices.output_usd_per_mtok),
        "context_window": card.context_window,
    }


def _keys(settings: Settings) -> dict[str, str]:
    """Variable -> set or missing; never its value."""
    used = {model.provider for model in settings.models.values()}
    names = [p.api_key_env for n, p in settings.providers.items() if p.api_key_env and n in used]
    names += [key.key_env for key in settings.auth.keys if key.key_env]
    return {name: "set" if variable(name, os.environ) else "missing" for name in names if name}


def _hint(name: str, missing: Coverage) -> str | None:
    """A leaderboard name that means the same model, or differs by case only."""
    for known in missing.without_model:
        if known == canonical(name) or known.lower() == name.lower():
            return f"set leaderboard_name: {known}"
    return None


def _text(report: dict[str, Any]) -> str:
    lines = [f"{'model':36}{'provider':14}{'USD per million tokens':>24}  routed"]
    for row in report["models"]:
        price = "unknown"
        if row["input_usd_per_mtok"] is not None:
            price = f"{row['input_usd_per_mtok']:g} in, {row['output_usd_per_mtok']:g} out"
        routed = "yes" if row["routed"] else "by name only: not on the leaderboard"
        lines.append(f"{row['model']:36}{row['provider']:14}{price:>24}  {routed}")
    for row in report["without_coefficient"]:
        if row["hint"] is not None:
            lines.append(f"{row['model']}: {row['hint']}")
    for name, state in report["keys"].items():
        lines.append(f"key {name}: {state}")
    for name, state in report.get("connections", {}).items():
        lines.append(f"{name}: {state}")
    lines += network_lines(report["network"])
    lines.append(f"on the leaderboard, not configured: {len(report['leaderboard_only'])} models")
    why = "; ".join(report["network"]["problems"]) or "a key is missing"
    lines.append("ok" if report["ok"] else f"serve would refuse to start: {why}")
    return "\n".join(lines)
