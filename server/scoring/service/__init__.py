"""`p2l-router model`: leaderboards over HTTP, for many gateways."""
