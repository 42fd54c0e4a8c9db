"""Fits heads to features: with or without a hidden layer, and for lengths and scores."""
