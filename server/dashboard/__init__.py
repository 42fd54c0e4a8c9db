"""The dashboard: a page, its files, and what its numbers are made of."""
