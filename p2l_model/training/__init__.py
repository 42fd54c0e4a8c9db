"""From votes to a checkpoint: backbones, features, heads, calibration."""
