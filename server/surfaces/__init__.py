"""The APIs that callers speak: each reads a request and writes an answer in its own form."""
