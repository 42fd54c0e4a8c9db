"""Authentication, and the limits of each key."""
