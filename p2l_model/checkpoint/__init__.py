"""A checkpoint: the folder, the check that its parts agree, and what is computed of them."""
