"""What belongs to one job: which requests do, which model answers its tool calls, and the one draw
that all of it is decided by. Pure: the time comes in, and nothing of a text or a name is kept."""
