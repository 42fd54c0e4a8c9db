"""Second answers to a share of live requests, graded to learn how good the models are."""
