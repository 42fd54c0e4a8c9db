"""Sessions: which requests belong to one job, which model answers its tool calls, and the one draw
that decides all of them. Pure: the time is an argument, and neither texts nor names are stored."""
