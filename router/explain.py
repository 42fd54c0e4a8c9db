"""The sentence that explains a decision to a person."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from router.decision import Alternative, BudgetMode, Decision


def explain(decision: Decision) -> Decision:
    """The decision with its explanation filled in."""
    sentences = [_chosen(decision), *_mixed(decision), *_dearer(decision)]
    return replace(decision, explanation="; ".join(sentences))


def _chosen(decision: Decision) -> str:
    cost = decision.expected_cost_usd
    at = "an unknown cost" if cost is None else f"{_usd(cost)} USD"
    text = f"{decision.model}: {decision.win_rate:.1%} win rate at {at}"
    if decision.max_output_tokens is not None and decision.worst_case_cost_usd is not None:
        text += (
            f", {_usd(decision.worst_case_cost_usd)} USD at most with answers of up to "
            f"{decision.max_output_tokens} tokens"
        )
    return text


def _mixed(decision: Decision) -> list[str]:
    if len(decision.mix) < 2:
        return []
    parts = " and ".join(f"{name} ({share:.1%})" for name, share in decision.mix.items())
    return [f"drawn from {parts}, which together win {decision.mix_win_rate:.1%} within the budget"]


def _dearer(decision: Decision) -> list[str]:
    """What the best model out of reach would have added."""
    better = next((row for row in decision.alternatives if _beats(row, decision)), None)
    if better is None or better.win_rate is None:
        return []
    points = 100.0 * (better.win_rate - decision.win_rate)
    text = f"{better.model} would add {points:.1f} points"
    if better.expected_cost_usd is not None and decision.expected_cost_usd:
        text += f" for {better.expected_cost_usd / decision.expected_cost_usd:.1f}x the cost"
    return [text]


def _beats(row: Alternative, decision: Decision) -> bool:
    over = row.eligible or decision.budget_mode is BudgetMode.HARD
    return over and row.win_rate is not None and row.win_rate > decision.win_rate


def _usd(amount: Decimal) -> str:
    return f"{float(amount):.2g}" if amount < Decimal("0.0001") else f"{amount:.4f}"
