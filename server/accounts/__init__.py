"""How much a caller may use: dollars in a window, requests and tokens in a minute, places."""
