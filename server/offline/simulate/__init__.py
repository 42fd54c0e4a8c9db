"""Replays graded answers against a router: cost-performance curves and streams under a budget."""
