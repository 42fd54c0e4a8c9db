"""The run itself: buys answers and verdicts prompt by prompt, until the plan or the money ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import anyio

from router.catalog import ModelCard
from server.errors import (
    ApiError,
    BudgetExhaustedError,
    OverloadedError,
    RateLimitedError,
    UpstreamFailedError,
)
from server.judging.judge import combined, judge_body, verdict_of
from server.offline.learn.buyer import Bought, Buyer, Quote, UnpricedError
from server.offline.learn.checkers import Checker
from server.offline.learn.journal import Journal, Want
from server.offline.learn.money import Money, OutOfMoneyError
from server.offline.learn.plan import ANSWER, VERDICT, RunPlan, answer_body
from server.offline.learn.standing import settled
from server.offline.learn.tasks import Task

# Prompts that are worked on at the same time: only as many can be without grades when the money is
# out.
_PROMPTS_AT_ONCE: Final = 4
# A model whose calls fail this often in a row is left out of the rest of the run.
_MOST_FAILURES: Final = 5
# Errors that say something about one prompt, and nothing about the model.
_OF_THE_PROMPT: Final = frozenset({"no_eligible_model", "context_length_exceeded"})
# The seconds after which a call is made again that a provider was too busy for; longer where it
# says so, up to a limit.
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE_S: Final = 60.0
# An output limit is never lowered to fewer tokens than these.
_LEAST_CAP: Final = 512

# Receives (calls done, calls planned, USD left).
Progress = Callable[[int, int, Decimal], None]


@dataclass(slots=True)
class Outcome:
    """How a run ended. stopped: why it ended early: `money`, `window` or `user`; None: it did not.
    failures: by model, the codes of errors and how often. dropped: models that kept failing.
    settled: models whose place was settled early, and after how many prompts. n_stopped_checks:
    commands that were stopped at a limit."""

    stopped: str | None = None
    failures: dict[str, Counter[str]] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    settled: dict[str, int] = field(default_factory=dict)
    n_calls: int = 0
    n_stopped_checks: int = 0

    def failed(self, model: str, code: str) -> None:
        """Counts a failure."""
        self.failures.setdefault(model, Counter())[code] += 1


class Run:
    """One run, or the rest of one. was_paid: whether a request that brought no answer may have been
    paid. at_once: calls at the same time."""

    def __init__(
        self,
        plan: RunPlan,
        tasks: Mapping[str, Task],
        cards: Mapping[str, ModelCard],
        buyer: Buyer,
        money: Money,
        journal: Journal,
        checker: Checker,
        *,
        was_paid: Callable[[str], Any],
        progress: Progress,
        at_once: int,
    ) -> None:
        self.outcome = Outcome()
        self._plan = plan
        self._tasks = tasks
        self._cards = cards
        self._buyer = buyer
        self._money = money
        self._journal = journal
        self._checker = checker
        self._was_paid = was_paid
        self._progress = progress
        self._places = asyncio.Semaphore(at_once)
        self._in_a_row: Counter[str] = Counter()
        self._scores: dict[str, dict[str, float]] = {}
        # The tokens of the longest output so far, by (whether it is an answer, model).
        self._longest: dict[tuple[bool, str], int] = {}
        self._n_done = 0

    def stop(self, why: str) -> None:
        """Lets the run end as soon as the calls in progress have."""
        self.outcome.stopped = self.outcome.stopped or why

    async def go(self) -> Outcome:
        """Runs. Raises DataError where a checker cannot be run, StorageError."""
        left = iter(self._plan.prompts)

        async def work() -> None:
            for identity in left:
                if self.outcome.stopped is not None:
                    return
                await self._prompt(self._tasks[identity])
                self._n_done += 1
                self._settle()

        await _all([work() for _ in range(_PROMPTS_AT_ONCE)])
        self.outcome.n_stopped_checks = self._checker.n_stopped
        return self.outcome

    async def _prompt(self, task: Task) -> None:
        """Buys the answers to one prompt, and their grades."""
        wanted = [name for name in self._plan.models if not self._is_out(name)]
        if task.check is not None:
            await _all([self._checked(task, name) for name in wanted])
            return
        others = [name for name in wanted if name in self._plan.judges]
        reference, text = self._plan.reference, task.reference
        if others and text is None and reference is not None:
            answer = await self._answer(task, reference)
            text = None if answer is None else answer.text
            self._note(reference, task, None if text is None else 0.5)
        if text is not None:
            await _all([self._judged(task, name, text) for name in others])

    async def _checked(self, task: Task, model: str) -> None:
        answer = await self._answer(task, model)
        if answer is None or task.check is None:
            return
        want = Want(task.id, model)
        score = self._journal.grades.get(want)
        if score is None:
            score = await asyncio.to_thread(self._checker.score, task.check, answer.text)
            self._journal.grade(want, score)
        self._note(model, task, score)

    async def _judged(self, task: Task, model: str, reference: str) -> None:
        judge = self._plan.judges[model]
        try:
            answer = await self._answer(task, model)
            if answer is None:
                return
            values = [
                await self._verdict(task, model, judge, answer.text, reference, first=first)
                for first in (True, False)
            ]
        finally:
            await self._money.graded(Want(task.id, model))
        if values[0] is not None and values[1] is not None:
            self._note(model, task, combined(values[0], values[1]))

    async def _answer(self, task: Task, model: str) -> Bought | None:
        """The model's answer, where there is a whole one."""
        body = answer_body(task, self._plan.caps[model])
        bought = await self._bought(Want(task.id, model), model, body, ANSWER)
        return bought if bought is not None and bought.is_whole else None

    async def _verdict(
        self, task: Task, model: str, judge: str, answer: str, reference: str, *, first: bool
    ) -> float | None:
        """The verdict on an answer: 1 for a win; None where there is none."""
        shown = (answer, reference) if first else (reference, answer)
        body = judge_body(task.messages, shown, self._cards[judge], self._plan.judge_caps[judge])
        bought = await self._bought(Want(task.id, judge, model, first), judge, body, VERDICT)
        value = None if bought is None else verdict_of(bought.text)
        return value if value is None or first else 1 - value

    async def _bought(
        self, want: Want, model: str, body: Mapping[str, Any], kind: str
    ) -> Bought | None:
        """What a call brings, or has brought in an earlier start of the run."""
        known = self._journal.done.get(want)
        if known is not None:
            if known["do"] == "lose":
                return None
            bought = bought_of(known)
            self._remember(want, model, bought)
            return bought
        for pause_s in (*_PAUSES_S, None):
            if self.outcome.stopped in ("user", "window") or self._is_out(model, kind):
                return None
            try:
                return await self._tried(want, model, body, kind)
            except OutOfMoneyError:
                self.stop("money")
                return None
            except (ApiError, UnpricedError) as error:
                if pause_s is None or not _may_pass(error) or want in self._journal.done:
                    self._fail(model, error)
                    return None
                await anyio.sleep(max(pause_s, _retry_after_s(error)))
        return None

    async def _tried(self, want: Want, model: str, body: Mapping[str, Any], kind: str) -> Bought:
        """Makes a call. Raises OutOfMoneyError, ApiError, UnpricedError."""
        quote = await self._held(want, model, body, kind)
        try:
            # Not earlier: an answer that waits for money must not keep a verdict waiting.
            async with self._places:
                return await self._made(want, model, quote)
        finally:
            await self._money.release(want)

    async def _held(self, want: Want, model: str, body: Mapping[str, Any], kind: str) -> Quote:
        """A call whose worst case is held. Where that does not fit what is left, the output limit
        is lowered, but not to less than twice the model's longest answer so far. Raises
        OutOfMoneyError, ApiError, UnpricedError."""
        quote = await self._buyer.quote(model, body, kind)
        judge = self._plan.judges.get(model) if self._is_judged(want) else None
        try:
            await self._money.hold(want, quote.most_usd, judge)
        except OutOfMoneyError as short:
            cap = quote.cap_for(short.left_usd)
            longest = self._longest.get((want.is_answer, model))
            if cap is None or longest is None or cap < max(_LEAST_CAP, 2 * longest):
                raise
            lowered = {**body, "max_completion_tokens": cap}
            quote = await self._buyer.quote(model, lowered, kind)
            await self._money.hold(want, quote.most_usd, judge)
        return quote

    def _is_judged(self, want: Want) -> bool:
        return want.is_answer and self._tasks[want.prompt].check is None

    async def _made(self, want: Want, model: str, quote: Quote) -> Bought:
        self._journal.ask(want, quote.request_id)
        try:
            bought = await self._buyer.buy(quote)
        except ApiError:
            if await self._was_paid(quote.request_id):
                self._journal.lose(want, quote.request_id)
            else:
                self._journal.free(want)
            raise
        self._journal.answer(want, line_of(bought, quote.request_id))
        self._remember(want, model, bought)
        self._in_a_row[model] = 0
        self.outcome.n_calls += 1
        left = await self._money.left_usd()
        self._progress(self._n_done, len(self._plan.prompts), left)
        return bought

    def _remember(self, want: Want, model: str, bought: Bought) -> None:
        if not want.is_answer:
            self._money.verdicts.add(model, bought.cost_usd)
        kind = want.is_answer, model
        self._longest[kind] = max(self._longest.get(kind, 0), bought.output_tokens)

    def _fail(self, model: str, error: Exception) -> None:
        if isinstance(error, BudgetExhaustedError):
            self.stop("window")
            return
        code = error.code if isinstance(error, ApiError) else "unknown_price"
        self.outcome.failed(model, str(code))
        if code in _OF_THE_PROMPT:
            return
        self._in_a_row[model] += 1
        if self._in_a_row[model] >= _MOST_FAILURES:
            self.outcome.dropped.add(model)

    def _is_out(self, model: str, kind: str = ANSWER) -> bool:
        """Whether nothing more is bought from a model. The reference is needed to the end."""
        if model in self.outcome.dropped:
            return True
        return kind == ANSWER and model in self.outcome.settled and model != self._plan.reference

    def _note(self, model: str, task: Task, score: float | None) -> None:
        if score is not None:
            self._scores.setdefault(model, {})[task.id] = score

    def _settle(self) -> None:
        """Looks whose place is settled; the order of the others is what is bought from now on."""
        for model in settled(self._scores):
            self.outcome.settled.setdefault(model, len(self._scores[model]))


async def _all(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Runs all of them. Raises the first one's error itself, once all have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several


def _may_pass(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    busy = RateLimitedError, OverloadedError, UpstreamFailedError
    return isinstance(error, busy)


def _retry_after_s(error: Exception) -> float:
    told = error.headers.get("retry-after", "0") if isinstance(error, ApiError) else "0"
    return min(_LONGEST_PAUSE_S, float(told))


def line_of(bought: Bought, request_id: str) -> dict[str, Any]:
    """A bought answer as the journal keeps it."""
    return {
        "request_id": request_id,
        "text": bought.text,
        "finish_reason": bought.finish_reason,
        "input_tokens": bought.input_tokens,
        "output_tokens": bought.output_tokens,
        "cost_usd": f"{bought.cost_usd:f}",
        "latency_s": round(bought.latency_s, 3),
    }


def bought_of(line: Mapping[str, Any]) -> Bought:
    """A bought answer from the journal."""
    return Bought(
        line["text"],
        line["finish_reason"],
        line["input_tokens"],
        line["output_tokens"],
        Decimal(line["cost_usd"]),
        line["latency_s"],
    )
