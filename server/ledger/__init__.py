"""The ledger: the cost of every attempt, reserved before it is sent and settled once at its end."""
