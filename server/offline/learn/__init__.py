"""`p2l-router learn`: asks models on a sample of prompts within a sum of money, and grades the
answers by checkers or by a judge."""
