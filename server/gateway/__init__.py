"""The path of a request: score the prompt, decide on a model, send, and decide again on failure."""
