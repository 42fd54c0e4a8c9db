"""Chat completions, as defined by OpenAI."""
