"""Speaks HTTP, to callers and to providers."""
