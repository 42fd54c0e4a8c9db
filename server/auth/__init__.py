"""Who is calling, and what a key may do."""
