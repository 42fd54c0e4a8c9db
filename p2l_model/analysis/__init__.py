"""Uses of leaderboards besides routing: leaderboards of many prompts, of categories and of users,
and checks whether the predictions still hold."""
