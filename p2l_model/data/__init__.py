"""Files become votes and graded answers, by prompt and by model."""
