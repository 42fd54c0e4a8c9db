"""Leaderboards from a model service: its client, and the service itself."""
