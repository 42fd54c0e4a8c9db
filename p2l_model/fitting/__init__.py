"""Heads are fitted to features: one layer or two, lengths and scores."""
