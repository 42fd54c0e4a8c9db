"""Runs the application: connections, signals, several processes on one port."""
