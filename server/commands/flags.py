"""Parsers for flags and for the environment variables of the same meaning."""

from __future__ import annotations

import argparse


def port(text: str) -> int:
    """A port from 0 to 65535: the system would silently map a larger number to another port."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text[:40]!r}")
    return int(text)
