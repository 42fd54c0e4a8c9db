"""The HTTP server: it speaks HTTP to callers and to providers."""
