"""Gives a model a place on the leaderboard from public facts alone: what others have published of
it, its family, version, size, date, price and effort."""
