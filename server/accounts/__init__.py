"""The limits on callers: money in a window, requests and tokens in a minute, places."""
