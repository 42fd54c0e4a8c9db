"""Telemetry for operators: metrics, traces and the log."""
