"""Routes one prompt with the library alone: no server, no network, no key.

python examples/library.py "Prove that the square root of 2 is irrational." 0.0002
"""

import random
import sys
from decimal import Decimal

from p2l_model import Predictor
from router import ModelCard, Prices, RequestShape, RoutingRequest, decide

PRICES = [("mistral-large-2512", "0.5", "1.5"), ("Qwen2.5-7B-Instruct", "0.1", "0.1")]

prompt, budget = (*sys.argv[1:3], "What is 2 + 2?", "0.0002")[:2]
with Predictor.load("bundled") as predictor:
    leaderboard = predictor.prompt_leaderboard(prompt)
catalogue = [
    ModelCard(
        name=name,
        provider="any",
        upstream_model=name,
        leaderboard_name=name,
        prices=Prices(input_usd_per_mtok=Decimal(usd_in), output_usd_per_mtok=Decimal(usd_out)),
    )
    for name, usd_in, usd_out in PRICES
]
shape = RequestShape(input_tokens=len(prompt) // 4, input_tokens_upper_bound=len(prompt))
request = RoutingRequest(shape=shape, budget_usd=Decimal(budget))
decision = decide(leaderboard, catalogue, request, random.Random())
print(f"{decision.model}: wins {decision.win_rate:.0%}, costs {decision.expected_cost_usd:.6f} USD")
