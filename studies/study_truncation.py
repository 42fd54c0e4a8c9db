"""Where does it start to matter how much of a prompt is read?

python studies/study_truncation.py --data DATA/arena_bench_v1 ...

Of prompts longer than the largest limit tried, the leaderboards at each limit (the end is kept)
against those of the whole, and the decisions on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.data.files import load_votes
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation, PromptLeaderboard
from server.catalogue.cards import build_catalogue
from server.commands.datasets import data_files
from server.config.defaults import default_settings
from server.offline.routing_effect import routing_effect

LIMITS = (32, 64, 128, 192, 256, 384)


def main() -> None:
    """A table per group of lengths."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--most", type=int, default=120, help="prompts in each group")
    args = parser.parse_args()
    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint))
    found = {
        conversation: len(checkpoint.prompt.encode(conversation))
        for path in data_files(args.data, "validation")
        for conversation in load_votes([path], score_range=(0.0, 1.0)).conversations
    }
    catalogue = build_catalogue(default_settings({}))
    for low, high in ((129, 256), (257, 511), (512, 512)):
        group = [one for one, n in found.items() if low <= n <= high][: args.most]
        if group:
            print(f"\n{len(group)} prompts of {low} to {high} tokens\n")
            print("| read | coefficient error, mean | decisions changed | regret, mean | max |")
            print("|---|---|---|---|---|")
            _table(checkpoint, group, [n for n in LIMITS if n < high], catalogue)


def _table(
    checkpoint: Checkpoint, group: Sequence[Conversation], limits: Sequence[int], catalogue: object
) -> None:
    whole = _boards(checkpoint, group)
    lengths = [len(checkpoint.prompt.encode(one)) for one in group]
    for limit in limits:
        cut = _boards(checkpoint.limited(limit), group)
        effect = routing_effect(whole, cut, lengths, catalogue)  # type: ignore[arg-type]
        print(
            f"| {limit} | {effect.coefficient_error_mean:.3f} | {effect.changed:.1%} | "
            f"{effect.regret_mean:.4f} | {effect.regret_max:.3f} |",
            flush=True,
        )


def _boards(checkpoint: Checkpoint, group: Sequence[Conversation]) -> list[PromptLeaderboard]:
    engine = load_engine(checkpoint)
    ids = [checkpoint.prompt.encode(one) for one in group]
    return [checkpoint.leaderboard(row) for row in engine.features(ids)]


if __name__ == "__main__":
    main()
