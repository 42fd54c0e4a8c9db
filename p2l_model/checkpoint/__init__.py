"""Checkpoints: reading and checking the folder, and computing leaderboards from features."""
