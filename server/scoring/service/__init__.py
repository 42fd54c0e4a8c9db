"""`p2l-router model`: serves leaderboards over HTTP, for many gateways."""
