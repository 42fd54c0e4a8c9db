"""Decides: a leaderboard, prices and a budget go in, a model comes out. Pure: no I/O, no clock."""
