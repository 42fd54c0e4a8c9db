"""`p2l-router replay`: computes a stored decision again from its receipt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from p2l_model.errors import DataError, ExtraMissingError
from router.cvxpy_lp import GeneralLp
from router.errors import RouterError
from router.receipt import InvalidReceiptError, replay
from server.wire.shapes import objects

_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("receipt", metavar="RECEIPT.json",
                        help="A file with a receipt, or - to read it from standard "
                             "input.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns 0 where every attempt comes out the same, otherwise 1. Raises
    DataError."""
    receipt = _read(args.receipt)
    try:
        models, differences = replay(receipt, _slow_lane(receipt))
    except InvalidReceiptError as error:
        raise DataError(f"{args.receipt}: {error}") from error
    except RouterError as error:
        models, differences = [], [f"now refused: {error}"]
    if args.json:
        told = {
            "request_id": receipt.get("request_id"),
            "same": not differences,
            "models": models,
            "differences": differences,
        }
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        print(_sentence(models, differences))
    return 1 if differences else 0


def _slow_lane(receipt: dict[str, Any]) -> GeneralLp | None:
    """The solver, loaded only where an attempt used it, since compiling takes a while. Raises
    ExtraMissingError."""
    if "solver" not in _lanes(receipt.get("attempts")):
        return None
    try:
        return GeneralLp()
    except ImportError as error:
        raise ExtraMissingError("cvxpy", "lp") from error


def _lanes(attempts: object) -> set[object]:
    """How each attempt was decided; `replay` itself reports malformed attempts."""
    decisions = [a.get("decision") for a in objects(attempts)]
    lanes = [decision.get("lane") for decision in objects(decisions)]
    return {lane for lane in lanes if isinstance(lane, str)}


def _read(path: str) -> dict[str, Any]:
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        receipt = orjson.loads(raw)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(receipt, dict):
        raise DataError(f"{path}: not a receipt: it must be a JSON object")
    return receipt


def _sentence(models: list[str], differences: list[str]) -> str:
    if not differences:
        return f"The same, bit for bit: {', then '.join(models)}."
    lines = [f"{len(differences)} differences:", *differences[:_SHOWN]]
    if len(differences) > _SHOWN:
        lines.append("...")
    return "\n".join(lines)
