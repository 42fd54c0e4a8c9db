"""Gets leaderboards from `p2l-router model` services, for a gateway without a model of its own."""
