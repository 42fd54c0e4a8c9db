"""What flags and their twins in the environment are read as."""

from __future__ import annotations

import argparse


def port(text: str) -> int:
    """0 to 65535: the system would take a larger number for another port, and say nothing."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text[:40]!r}")
    return int(text)
