"""Trials: a new model serves a share of a profile's sessions, and is compared with the others."""
