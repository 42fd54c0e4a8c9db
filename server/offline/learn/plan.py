"""What a run buys: which prompts, which models, which judges, and what that is likely to cost."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

from p2l_model.errors import DataError
from router.catalog import ModelCard
from router.cost import LEAST_OF_THINKERS, MTOK
from server.errors import ApiError
from server.judging.judge import family_of, instruction, judge_body, judge_for
from server.offline.learn.affordable import affordable
from server.offline.learn.buyer import Buyer, Quote, UnpricedError
from server.offline.learn.tasks import CheckerKind, Task

ANSWER: Final = "answer"
VERDICT: Final = "verdict"
# A judge's output limit in tokens; where it thinks, its thoughts count as well.
JUDGE_CAP: Final = 1_024
_THINKING_TIMES: Final = 4
# A judge that would take more than this share of the money is not chosen by default.
_JUDGE_SHARE: Final = Decimal("0.5")
# No call may cost more than this share of the money, unless its output limit is this low already.
_CALL_SHARE: Final = Decimal("0.1")
_LEAST_CAP: Final = 1_024
# Fewer prompts than these say little, so that a judge must be affordable for as many.
_FEW_PROMPTS: Final = 25
# The share of the money for answers, where a judge is to be paid too; how many prompts are looked
# at to see what a model costs.
_ANSWERS_SHARE: Final = Decimal("0.5")
_LOOKED_AT: Final = 5
# A stand-in for an answer when the cost of a judge is estimated: its length in characters.
_ANSWER_CHARS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asks for. sample: the most prompts. cap: the output limit of an answer in
    tokens; models that think get four times as many. judge: None for the strongest affordable."""

    spend_usd: Decimal
    models: tuple[str, ...]
    judge: str | None
    checker: CheckerKind | None
    sample: int
    seed: int
    cap: int


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The plan of a run, stored with its seed so that it can go on and be repeated.

    prompts: ids, in the order in which they are bought. left_out: models that the money is not
    enough for. reference: the model whose answers the others are compared with; None where nothing
    is judged. judges: by judged model. caps, judge_caps: the output limits in tokens, by model.
    judge_version: of the judge's instruction.
    """

    run: str
    seed: int
    prompts: tuple[str, ...]
    models: tuple[str, ...]
    left_out: tuple[str, ...]
    reference: str | None
    judges: Mapping[str, str]
    caps: Mapping[str, int]
    judge_caps: Mapping[str, int]
    judge_version: str
    checker: CheckerKind | None

    def to_json(self) -> dict[str, Any]:
        """The plan as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunPlan:
        """The stored plan. Raises DataError where it is of another version."""
        try:
            lists = {name: tuple(stored[name]) for name in ("prompts", "models", "left_out")}
            return cls(**{**stored, **lists})
        except (TypeError, KeyError) as error:
            raise DataError("plan.json is of another version: give another --out") from error


@dataclass(slots=True)
class Line:
    """What the calls to one model are likely to cost. n: calls. n_unable: prompts that the model
    cannot take. expected_usd, most_usd: of all n calls."""

    model: str
    kind: str
    n: int = 0
    n_unable: int = 0
    expected_usd: Decimal = Decimal(0)
    most_usd: Decimal = Decimal(0)

    def add(self, quote: Quote, times: int = 1) -> None:
        """Adds a call, or several that cost the same."""
        self.n += times
        self.expected_usd += times * quote.expected_usd
        self.most_usd += times * quote.most_usd

    @property
    def mean_usd(self) -> Decimal:
        """The expected cost of one call."""
        return self.expected_usd / self.n if self.n else Decimal(0)


@dataclass(slots=True)
class Estimate:
    """The expected cost of a plan, and its upper bound."""

    lines: list[Line] = field(default_factory=list)
    n_prompts: int = 0

    @property
    def expected_usd(self) -> Decimal:
        """The expected cost of everything in the plan."""
        return sum((line.expected_usd for line in self.lines), Decimal(0))

    @property
    def most_usd(self) -> Decimal:
        """What everything in the plan could cost at most."""
        return sum((line.most_usd for line in self.lines), Decimal(0))

    def of(self, kind: str) -> Iterator[Line]:
        """The lines of answers, or those of verdicts."""
        return (line for line in self.lines if line.kind == kind)


class Planning:
    """Makes plans. cards: the catalogue, by name; strengths: the place of each model on the
    leaderboard; thinkers: the models that think before they answer; spend_usd: for the whole
    run; usual: the models that are asked where the user names none, by default all."""

    def __init__(
        self,
        buyer: Buyer,
        cards: Mapping[str, ModelCard],
        strengths: Mapping[str, float],
        thinkers: frozenset[str],
        spend_usd: Decimal,
        usual: Sequence[str] = (),
    ) -> None:
        self._buyer = buyer
        self._cards = cards
        self._strengths = strengths
        self._thinkers = thinkers
        self._spend_usd = spend_usd
        self._usual = tuple(usual) or tuple(cards)
        self._families = {name: family_of(card) for name, card in cards.items()}

    async def plan(self, tasks: Sequence[Task], wishes: Wishes) -> RunPlan:
        """A new plan: prompts at random, and the same prompts for every model. Raises DataError
        where a model is not configured or nothing can judge."""
        chance = random.Random(wishes.seed)
        drawn = chance.sample(list(tasks), min(wishes.sample, len(tasks)))
        judged = [task for task in drawn if task.check is None]
        models = self._models(wishes.models)
        left_out: tuple[str, ...] = ()
        if not wishes.models:
            share = _ANSWERS_SHARE if judged else Decimal(1)
            models, left_out = await self._affordable(models, drawn, wishes, share)
        reference, judges = None, {}
        if judged:
            ranked = await self._judges(judged, models, wishes)
            if any(task.reference is None for task in judged):
                reference = self._reference(models, ranked[0])
            judges = {
                model: judge_for(model, reference, ranked, self._families)
                for model in models
                if model != reference
            }
        return RunPlan(
            run=f"learn-{secrets.token_hex(6)}",
            seed=wishes.seed,
            prompts=tuple(task.id for task in drawn),
            models=models,
            left_out=left_out,
            reference=reference,
            judges=judges,
            caps={name: self._cap(name, wishes.cap) for name in models},
            judge_caps={name: self._cap(name, JUDGE_CAP) for name in set(judges.values())},
            judge_version=instruction().version,
            checker=wishes.checker,
        )

    async def estimate(self, plan: RunPlan, tasks: Mapping[str, Task]) -> Estimate:
        """The cost of a plan. Nothing is sent."""
        estimate = Estimate(n_prompts=len(plan.prompts))
        drawn = [tasks[identity] for identity in plan.prompts]
        for model in plan.models:
            line = Line(model, ANSWER)
            for task in drawn:
                quote = await self._quote(model, answer_body(task, plan.caps[model]), ANSWER)
                if quote is None:
                    line.n_unable += 1
                else:
                    line.add(quote)
            estimate.lines.append(line)
        judged = [task for task in drawn if task.check is None]
        for judge, n_models in Counter(plan.judges.values()).items():
            line = Line(judge, VERDICT)
            for task in judged:
                quote = await self._quote(judge, self._judging(task, judge), VERDICT)
                if quote is not None:
                    line.add(quote, 2 * n_models)  # both orders
            estimate.lines.append(line)
        return estimate

    def _models(self, wanted: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in wanted if name not in self._cards]
        if unknown:
            known = ", ".join(sorted(self._cards)[:40])
            raise DataError(f"--models: {unknown[0]} is not configured; known are: {known}")
        names = tuple(wanted) or self._usual
        priced = tuple(name for name in names if self._cards[name].prices is not None)
        if wanted and len(priced) < len(names):
            missing = next(name for name in names if name not in priced)
            raise DataError(
                f"--models: {missing} has no price, so that its cost has no bound: set "
                f"models.{missing}.input_usd_per_mtok and output_usd_per_mtok"
            )
        if len(priced) < 2:
            raise DataError("learn compares models: configure at least two that have prices")
        return priced

    async def _affordable(
        self, models: Sequence[str], drawn: Sequence[Task], wishes: Wishes, share: Decimal
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The models whose answers to a few prompts that share of the money is enough for, and the
        others."""
        costs: dict[str, Decimal] = {}
        for model in models:
            line, cap = Line(model, ANSWER), self._cap(model, wishes.cap)
            for task in drawn[:_LOOKED_AT]:
                quote = await self._quote(model, answer_body(task, cap), ANSWER)
                if quote is not None:
                    line.add(quote)
            if line.n:
                costs[model] = line.mean_usd
        n_prompts = min(len(drawn), _FEW_PROMPTS)
        strength = {model: self._strength(model) for model in costs}
        kept, out = affordable(
            list(costs), costs, strength, wishes.spend_usd * share / max(1, n_prompts)
        )
        return kept, (*out, *(model for model in models if model not in costs))

    def _reference(self, models: Sequence[str], judge: str) -> str:
        """The model whose answers the others are compared with: of middling strength, since a
        comparison that is decided beforehand says nothing; not of the judge's family where another
        is there."""
        by_strength = sorted(models, key=lambda name: (self._strength(name), name))
        middle = (len(by_strength) - 1) / 2
        order = sorted(range(len(by_strength)), key=lambda place: abs(place - middle))
        ranked = [by_strength[place] for place in order]
        family = self._families[judge]
        return next((name for name in ranked if self._families[name] != family), ranked[0])

    async def _judges(
        self, judged: Sequence[Task], models: Sequence[str], wishes: Wishes
    ) -> list[str]:
        """The models that may judge, the preferred one first. Raises DataError."""
        if wishes.judge is not None and wishes.judge not in self._cards:
            raise DataError(f"--judge: {wishes.judge} is not configured")
        n_prompts = min(len(judged), _FEW_PROMPTS)
        n_calls = 2 * max(1, len(models) - 1) * n_prompts
        most_usd = wishes.spend_usd * _JUDGE_SHARE
        ranked = sorted(self._cards, key=lambda name: (-self._strength(name), name))
        affordable = []
        for name in ranked:
            quote = await self._quote(name, self._judging(judged[0], name), VERDICT)
            if quote is not None and quote.expected_usd * n_calls <= most_usd:
                affordable.append(name)
        if wishes.judge is not None:
            return [wishes.judge, *(name for name in affordable if name != wishes.judge)]
        if not affordable:
            raise DataError(
                f"no configured model can judge {n_prompts} prompts for half of --spend: raise "
                "--spend, name a --judge, or add a column expected to the prompts"
            )
        return affordable

    async def _quote(self, model: str, body: Mapping[str, Any], kind: str) -> Quote | None:
        """None where the model cannot take the request, or has no price."""
        try:
            return await self._buyer.quote(model, body, kind, is_dry=True)
        except (ApiError, UnpricedError):
            return None

    def _judging(self, task: Task, judge: str) -> dict[str, Any]:
        """The request for a verdict, with stand-ins for the answers."""
        words = "word " * (_ANSWER_CHARS // 5)
        cap = self._cap(judge, JUDGE_CAP)
        return judge_body(task.messages, (words, words), self._cards[judge], cap)

    def _cap(self, model: str, cap: int) -> int:
        """The output limit of a model's calls: as much as may be left unspent in the end."""
        thinks, card = model in self._thinkers, self._cards[model]
        wanted, least = (cap * _THINKING_TIMES, LEAST_OF_THINKERS) if thinks else (cap, _LEAST_CAP)
        if card.prices is not None and card.prices.dearest_output_usd_per_mtok > 0:
            payable = self._spend_usd * _CALL_SHARE * MTOK / card.prices.dearest_output_usd_per_mtok
            wanted = min(wanted, max(least, int(payable)))
        own = card.max_output_tokens
        return wanted if own is None else min(wanted, own)

    def _strength(self, model: str) -> float:
        return self._strengths.get(model, float("-inf"))


def answer_body(task: Task, cap: int) -> dict[str, Any]:
    """The request for an answer, without its model."""
    return {"messages": list(task.messages), "max_completion_tokens": cap}
