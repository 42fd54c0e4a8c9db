"""Leaderboards from a model service: the client of one, and the service itself."""
