"""OpenAI's Responses API for callers; for providers with chat completions only, requests are
converted."""
