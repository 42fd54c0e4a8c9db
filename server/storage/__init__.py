"""What is kept: attempts, receipts, feedback and keys, in SQLite or PostgreSQL."""
