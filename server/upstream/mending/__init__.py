"""Repairs chat completions: converts deviations of servers of open models, whole and streamed, to
the form of OpenAI's reference."""
