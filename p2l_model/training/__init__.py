"""Trains a checkpoint from votes: backbone, features, heads and calibration."""
