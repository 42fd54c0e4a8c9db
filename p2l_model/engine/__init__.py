"""Runs the backbone: token ids go in, pooled features come out."""
