"""Programs that work on what has been stored, not on live requests."""
