"""Engines run the backbone: token ids in, pooled features out."""
