"""What leaderboards are good for besides routing: the leaderboard of many prompts, of categories,
of people; and whether it is still true."""
