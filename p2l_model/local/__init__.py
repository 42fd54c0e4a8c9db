"""The local layer: what this gateway's own graded answers and votes say, on top of what shipped."""
