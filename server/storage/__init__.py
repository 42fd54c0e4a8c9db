"""The storage: attempts, receipts, feedback and keys, in SQLite or PostgreSQL."""
