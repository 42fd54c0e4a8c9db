"""Anthropic's Messages API for callers; providers of other dialects are bridged."""
