"""Anthropic's Messages API for callers; for other providers, requests are converted."""
