"""Predicts: a prompt goes in, a leaderboard for exactly that prompt comes out."""
