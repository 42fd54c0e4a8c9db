"""The process as a whole: background work, threads, shutdown."""
