"""What every attempt costs: reserved before it is sent, settled once when it is over."""
