"""Judging: which of two answers is better."""
