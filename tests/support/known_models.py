"""A provider of models whose strengths are known, and of a judge whose accuracy and biases are.

A prompt has a kind and a difficulty, an answer a quality: the model's strength in the kind less
the difficulty, with noise. An answer states its quality, so that the judge can read it; it is good
where that is above 0. Everything follows from names and texts: the same question has the same
answer.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_provider import Behaviour, FakeProvider, Recorded

KINDS = ("math", "code", "chat", "law")
_QUALITY = re.compile(r"q=([-+][\d.]+)")
_PROMPT = re.compile(r"\[(\w+) (\d+)\]")
_NOISE = 0.6
# Longer by one of these in characters, an answer has most of what the judge's bias gives.
LENGTH_SCALE = 400.0


@dataclass(frozen=True)
class Known:
    """A model. strengths: by kind; words: the mean length of its answers; the prices are in USD per
    million tokens."""

    name: str
    strengths: tuple[float, float, float, float]
    words: int
    input_usd: float
    output_usd: float


# Eight models at the prices of November 2026. One is best at code although it is cheap.
MODELS = (
    Known("gpt-6.1-sol", (1.6, 1.2, 1.0, 1.1), 150, 2, 10),
    Known("gpt-6-luna", (-0.4, -0.6, 0.3, -0.2), 60, 0.1, 0.5),
    Known("claude-opus-5-5", (1.5, 1.5, 1.3, 1.4), 220, 4, 20),
    Known("claude-haiku-5-5", (-0.3, 0.3, 0.6, 0.0), 80, 0.1, 0.5),
    Known("gemini-3.8-flash", (0.6, 0.4, 0.5, 0.4), 120, 0.75, 3.75),
    Known("grok-4.7", (0.9, 0.5, 0.2, 0.3), 180, 2, 6),
    Known("deepseek-v4-pro", (0.8, 1.4, 0.1, 0.2), 260, 1.32, 3.96),
    Known("kimi-k3.1-pro", (0.7, 0.7, 0.9, 0.4), 140, 2, 10),
)
JUDGE = Known("glm-5.3", (1.0, 1.0, 1.0, 1.0), 40, 1, 3)


@dataclass(frozen=True)
class Leaning:
    """How the judge judges. sharpness: log-odds of a win for one more of quality. length, position:
    its biases in log-odds: for an answer that is much longer, and for the one shown first. band:
    less than this in log-odds either way is a tie."""

    sharpness: float = 2.0
    length: float = 0.0
    position: float = 0.0
    band: float = 0.4

    def better(self, first: str, second: str, draw: float) -> str:
        """Its verdict; draw: uniform in (0, 1)."""
        lean = self.lean(first, second) + math.log(draw / (1 - draw))
        return "tie" if abs(lean) < self.band else ("first" if lean > 0 else "second")

    def lean(self, first: str, second: str) -> float:
        """The log-odds for the first answer."""
        longer = math.tanh((len(first) - len(second)) / LENGTH_SCALE)
        by_quality = self.sharpness * (quality_in(first) - quality_in(second))
        return by_quality + self.length * longer + self.position

    def score(self, quality: float, other: float) -> float:
        """The mean score of an answer against another in both orders, without the biases."""
        by = self.sharpness * (quality - other)
        win, loss = _logistic(by - self.band), _logistic(-by - self.band)
        return win + (1 - win - loss) / 2


def _logistic(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


def chance(*said: object) -> random.Random:
    text = "\0".join(map(str, said))
    return random.Random(hashlib.sha256(text.encode()).digest())


def prompt(kind: str, number: int) -> str:
    return f"[{kind} {number}] Please do this as well as you can."


def prompts(n: int) -> list[tuple[str, str]]:
    """(kind, prompt) of n prompts, all kinds in turn."""
    return [(KINDS[number % 4], prompt(KINDS[number % 4], number)) for number in range(n)]


def write_prompts(path: Path, n: int, *, checked: bool = False) -> Path:
    rows: list[dict[str, Any]] = []
    for kind, text in prompts(n):
        rows.append({"prompt": text, "category": kind} | ({"expected": "right"} if checked else {}))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def quality(model: Known, text: str) -> float:
    found = _PROMPT.search(text)
    assert found is not None
    difficulty = chance("difficulty", found[0]).gauss(0, 1)
    strength = model.strengths[KINDS.index(found[1])]
    return strength - difficulty + chance("quality", model.name, found[0]).gauss(0, _NOISE)


def quality_in(answer: str) -> float:
    found = _QUALITY.search(answer)
    return 0.0 if found is None else float(found[1])


def answer(model: Known, text: str) -> str:
    value = quality(model, text)
    n_words = round(model.words * chance("length", model.name, text).lognormvariate(0, 0.5))
    filler = "word " * max(1, n_words)
    return f"q={value:+.3f} {filler}\nAnswer: {'right' if value > 0 else 'wrong'}"


@dataclass
class Fault:
    """What goes wrong: the next n requests for a model get this status."""

    status: int = 500
    n: int = 0


class KnownModels(FakeProvider):
    """The provider. leaning: that of whatever model is asked to judge. delay_s: before each answer.
    faults: by model."""

    def __init__(self, leaning: Leaning | None = None, delay_s: float = 0.0) -> None:
        super().__init__(tuple(one.name for one in (*MODELS, JUDGE)))
        self.leaning = leaning or Leaning()
        self.delay_s = delay_s
        self.faults: dict[str, Fault] = {}

    def _behaviour(self, request: Recorded) -> Behaviour:
        usual = super()._behaviour(request)
        body = request.body
        if usual.status != 200 or not isinstance(body, dict) or "messages" not in body:
            return usual
        fault = self.faults.get(str(body["model"]))
        if fault is not None and fault.n > 0:
            fault.n -= 1
            return Behaviour(status=fault.status, error={"message": "out of order"})
        text = said_by(body, self.leaning)
        usage = {"prompt_tokens": len(json.dumps(body["messages"])) // 4,
                 "completion_tokens": max(1, len(text) // 4)}  # fmt: skip
        usage["total_tokens"] = sum(usage.values())
        return Behaviour(texts=(text,), usage=usage, first_delay_s=self.delay_s)


def said_by(body: dict[str, Any], leaning: Leaning) -> str:
    """What a model says to a request: an answer, or a verdict where it is asked for one."""
    name, messages = str(body["model"]), body["messages"]
    asked = str(messages[-1]["content"])
    if messages[0]["role"] != "system":
        return answer(next(one for one in (*MODELS, JUDGE) if one.name == name), asked)
    shown = json.loads(asked)
    first, second = shown["first_answer"], shown["second_answer"]
    draw = chance("verdict", name, first, second).random()
    return json.dumps({"reason": "It is so.", "better": leaning.better(first, second, draw)})


def config(base_url: str, ledger: Path, *, scorer: bool = False) -> str:
    """The gateway's configuration for all models. scorer: with the bundled checkpoint; otherwise
    the models' places are their true means."""
    rows = "\n".join(
        f"  {one.name}: {{provider: main, input_usd_per_mtok: {one.input_usd}, "
        f"output_usd_per_mtok: {one.output_usd}, context_window: 100000, "
        f"expected_output_tokens: {one.words}}}"
        for one in (*MODELS, JUDGE)
    )
    fixed = ", ".join(f"{one.name}: {sum(one.strengths) / 4}" for one in (*MODELS, JUDGE))
    scoring = "" if scorer else f"scorer: {{fixed: {{{fixed}}}}}"
    return f"""
providers:
  main: {{kind: openai, profile: generic, base_url: "{base_url}", api_key_env: MAIN_KEY}}
models:
{rows}
storage: {{url: "sqlite:///{ledger}"}}
{scoring}
"""
