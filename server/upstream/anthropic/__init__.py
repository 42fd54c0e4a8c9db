"""The upstream for Anthropic's Messages API."""
