"""The path of a request: score, decide, send, and decide again where sending failed."""
