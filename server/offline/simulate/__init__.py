"""Replays graded answers through a router: cost-performance curves, and streams under a budget."""
