"""Makes a first configuration: which providers there are, what they offer this key, what a better
answer should be allowed to cost, and how each client is pointed at the gateway."""
