"""The dashboard: its page, its files, and the computation of its numbers."""
