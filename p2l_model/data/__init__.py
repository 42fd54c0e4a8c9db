"""Reads files into votes and graded answers, by prompt and by model."""
