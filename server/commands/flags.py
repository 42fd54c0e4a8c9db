"""Flags that several subcommands share, and the parser of ports."""

from __future__ import annotations

import argparse
from typing import Final

# The configuration that init writes.
WRITTEN: Final = "p2l-router.yaml"


def port(text: str) -> int:
    """A port from 0 to 65535: the system would silently map a larger number to another port."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text[:40]!r}")
    return int(text)


def whole_number(text: str) -> int:
    """A number of 0 or more."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a number of 0 or more, got {text[:40]!r}")
    return int(text)


def positive_number(text: str) -> int:
    """A number of 1 or more."""
    if whole_number(text) == 0:
        raise argparse.ArgumentTypeError("must be a number of 1 or more, got 0")
    return int(text)


def add_config(parser: argparse.ArgumentParser, default: str | None = None, more: str = "") -> None:
    """Adds --config. more: a further sentence of its help."""
    help_ = f"The gateway's configuration, a YAML file (environment: P2L_CONFIG). {more}"
    parser.add_argument("--config", metavar="FILE", default=default, help=help_.strip())


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoint."""
    parser.add_argument("--checkpoint", default="bundled", metavar="DIR",
                        help="A checkpoint folder, or the word bundled (the default).")  # fmt: skip


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds --engine."""
    parser.add_argument("--engine", default="auto", choices=["auto", "static", "onnx", "torch"],
                        help="What computes the predictions. The default, auto, takes static where "
                             "the checkpoint is a table of token vectors, and onnx where it has "
                             "a graph for the CPU.")  # fmt: skip


def add_score_range(parser: argparse.ArgumentParser) -> None:
    """Adds --score-range."""
    parser.add_argument("--score-range", metavar="LO,HI",
                        help="The lowest and the highest score in the files, for example 1,10 "
                             "(default: 0,1).")  # fmt: skip


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds --seed."""
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="The seed of all random numbers (default: 0).")  # fmt: skip


def add_resamples(
    parser: argparse.ArgumentParser, default: int, *, may_be_none: bool = False
) -> None:
    """Adds --resamples. may_be_none: 0 leaves the intervals out."""
    help_ = f"How many resamples the confidence intervals rest on (default: {default})."
    if may_be_none:
        help_ += " 0 leaves the intervals out."
    kind = whole_number if may_be_none else positive_number
    parser.add_argument("--resamples", type=kind, default=default, metavar="N", help=help_)
