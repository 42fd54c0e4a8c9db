"""Measures how good a checkpoint is, against which baseline, and with which interval."""
