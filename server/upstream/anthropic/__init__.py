"""Anthropic's Messages API, as a provider."""
