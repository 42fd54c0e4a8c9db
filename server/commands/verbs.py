"""The subcommands of `p2l-router`: what each one does, an example of its use, and the groups in
which help lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Verb(NamedTuple):
    """summary: one sentence for `--help`. example: a command line that can be copied, without the
    name of the program."""

    summary: str
    example: str


VERBS: Final = {
    "init": Verb(
        "Write a first configuration from the keys in the environment.",
        "init --provider openai --daily-usd 5 --out p2l-router.yaml",
    ),
    "serve": Verb("Run the gateway.", "serve --config p2l-router.yaml --port 8000"),
    "model": Verb(
        "Run the P2L service, which predicts leaderboards over HTTP.",
        "model --checkpoint bundled --port 8001",
    ),
    "check": Verb(
        "Check a configuration, and say which models it would route to and at which prices.",
        "check --config p2l-router.yaml --connect",
    ),
    "models": Verb(
        "Show where each configured model stands, what that rests on, and what it has cost here.",
        "models --config p2l-router.yaml",
    ),
    "leaderboard": Verb(
        "Predict the leaderboard of a prompt.", "leaderboard 'Prove that 7 is prime.' --top 5"
    ),
    "route": Verb(
        "Show which model a prompt would be sent to, and why. Nothing is sent or spent.",
        "route 'Prove that 7 is prime.' --budget 0.002",
    ),
    "train": Verb(
        "Train a checkpoint on votes and graded answers. A run that was stopped can go on.",
        "train --data votes.train.parquet --family grk --out my-checkpoint",
    ),
    "evaluate": Verb(
        "Compare a checkpoint with one leaderboard for all prompts, on votes or graded answers.",
        "evaluate --checkpoint my-checkpoint --data votes.validation.parquet",
    ),
    "aggregate": Verb(
        "Predict the leaderboard of many prompts together, with confidence intervals.",
        "aggregate --prompts prompts.jsonl --by category --png leaderboard.png",
    ),
    "assess": Verb(
        "Say what a new model is worth: its rank, where it is best, and what it would save.",
        "assess --checkpoint my-checkpoint --model new-model --prompts prompts.jsonl",
    ),
    "watch": Verb(
        "Test whether live feedback still agrees with the predictions.",
        "watch --config p2l-router.yaml --hours 24",
    ),
    "strengths": Verb(
        "Show on which kinds of prompts each model is stronger or weaker than it is overall.",
        "strengths --prompts prompts.jsonl --out strengths.html",
    ),
    "learn": Verb(
        "Ask the models on your own prompts, within a sum of money, and grade their answers.",
        "learn --prompts prompts.jsonl --spend 5 --dry-run",
    ),
    "trials": Verb(
        "Show where the trials of new models stand, and which were stopped.",
        "trials --config p2l-router.yaml",
    ),
    "scaling": Verb(
        "Measure how the loss falls with the number of votes and with the size of the model.",
        "scaling --data votes.train.parquet --out scaling",
    ),
    "onboard": Verb(
        "Add a model to a checkpoint from a few votes or graded answers.",
        "onboard --model new-model --data votes.jsonl --out my-checkpoint",
    ),
    "simulate": Verb(
        "Compute what the router would have scored and cost on graded answers or recorded jobs.",
        "simulate --scores scores.validation.parquet --prices prices.csv --out simulation",
    ),
    "spend": Verb(
        "Show what was spent, by key, model, provider, day, tag or session.",
        "spend --by model --days 7",
    ),
    "reconcile": Verb(
        "Compare the ledger with a provider's usage export, and correct the ledger if asked to.",
        "reconcile --provider main --usage usage.csv",
    ),
    "facts": Verb(
        "Show what is known of models: limits, prices and what they refuse. Renew it from a file.",
        "facts gpt-6.1-sol",
    ),
    "keys": Verb(
        "Create, list, change and revoke API keys.",
        "keys create alice --budget-usd 5 --window-s 86400",
    ),
    "feedback": Verb(
        "Export the stored feedback as training data.", "feedback export --out votes.jsonl"
    ),
    "sessions": Verb(
        "Export the requests of all sessions without their texts, for simulate --sessions.",
        "sessions export --out jobs.jsonl --days 30",
    ),
    "migrate": Verb(
        "Update the tables of the database to this version.", "migrate --config p2l-router.yaml"
    ),
    "replay": Verb(
        "Compute a decision again from its receipt, and fail where it differs.",
        "replay receipt.json",
    ),
    "export": Verb(
        "Write the CPU engine's form of a checkpoint, and measure what that changes.",
        "export --checkpoint my-checkpoint --out my-checkpoint-int8",
    ),
    "import": Verb(
        "Convert a checkpoint of the reference implementation (lmarena/p2l).",
        "import --from p2l-0.5b-grk --out my-checkpoint",
    ),
    "completion": Verb(
        "Print a script by which a shell completes verbs, flags and their choices.",
        "completion bash",
    ),
}

# The order of help: what a user needs first stands first.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Serve and operate": (
        *("init", "serve", "check", "keys", "spend", "sessions", "feedback", "watch"),
        *("reconcile", "migrate", "replay", "model", "completion"),
    ),
    "Know your models": ("models", "learn", "trials", "leaderboard", "route", "facts", "assess"),
    "Train and judge": (
        *("train", "evaluate", "onboard", "simulate", "scaling", "export", "import"),
    ),
    "Analyse": ("aggregate", "strengths"),
}
