"""The sessions of a process: the session of a request, and what was decided in it before.

Names, calls and conversations are recognised by keyed hashes, which cover the caller's name:
callers never share a session. The memory is bounded; the least recently used entries are dropped.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from p2l_model.types import PromptLeaderboard
from server.sessions.results import Results, before_answer, has_answer, results_at_end

# The number of sessions, and of requests that later ones may continue. At this limit, all of them
# take about 70 MB.
MOST_KEPT: Final = 50_000
_CALLS_EACH: Final = 2
# The number of leaderboards for each session; a leaderboard takes some thousand bytes.
_BOARDS_EACH: Final = 0.2
# A shorter hash could collide by chance.
_HASH_BYTES: Final = 16
# Of a request, other processes are asked for this many of its latest results, and for this many of
# the longest prefixes that an earlier request can have had.
_LINKS_ASKED: Final = 8
_PREFIXES_ASKED: Final = 8

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Task:
    """The task that a person set, as it was scored. board: None once it has been dropped.
    is_marginal: whether the marginal leaderboard stood in for the prompt's own."""

    board: PromptLeaderboard | None
    is_marginal: bool = False
    is_held: bool = False


@dataclass(slots=True, eq=False, weakref_slot=True)
class Session:
    """One job. seed: that of the draw which decides all its requests. order: the models in the
    order in which they were first drawn from, see RoutingRequest. used_s: when it was last used.
    n_branches: the number of branches so far. n_requests: the number of routed requests so far.
    budget_share: the share of their budgets that its draws get, see KeyAccounts.share; None before
    the first draw within a budget. given_usd: the budget that a request gave it last."""

    seed: int
    used_s: float
    order: tuple[str, ...] = ()
    n_branches: int = 0
    n_requests: int = 0
    budget_share: float | None = None
    given_usd: Decimal | None = None


@dataclass(slots=True, eq=False)
class Branch:
    """The state of a session at one request. model: the catalogue name of the model that answered
    it. budget_usd: the budget within which it was chosen, None without one. task: None where the
    answer has called no tool. number: which branch of its session it is. is_continued: whether a
    later request has continued it: a second one begins a branch of its own. mark: a number that no
    other branch of any process has, where sessions are shared."""

    session: Session
    model: str
    budget_usd: Decimal | None = None
    task: Task | None = None
    number: int = 0
    is_continued: bool = False
    mark: int = 0


@dataclass(slots=True, eq=False)
class Visit:
    """A request, and what was found about its session.

    is_new: nothing was found, and the session is a new one. branch: the branch that it continues,
    where one was looked for. results: the results that it brings in a tool loop. task: what is
    asked for, once it is known. name, whole: hashes of the session's name and of the conversation,
    where they exist. number: which branch of its session it is, once it has been answered.
    budget_share: the one by which it is planned, for a session that has none yet.
    """

    caller: str
    session: Session
    is_new: bool
    branch: Branch | None
    results: Results | None
    name: bytes | None
    whole: bytes | None
    task: Task | None = None
    number: int | None = None
    budget_share: float | None = None

    @property
    def calling(self) -> Branch | None:
        """The answer whose calls' results the request brings, where it is known."""
        return None if self.results is None else self.branch

    @property
    def kept_task(self) -> Task | None:
        """The earlier task, where it still applies: in a tool loop in which nobody has said
        anything new."""
        if self.results is None or self.results.has_words or self.branch is None:
            return None
        task = self.branch.task
        return None if task is None or task.board is None else task


class Made(NamedTuple):
    """The answer that made a call. is_unsure: whether another answer has made a call with the same
    id."""

    branch: Branch
    is_unsure: bool


class Missing(NamedTuple):
    """What this process does not know of a request, as keys of its tables; other processes may.
    name: of the session. links: of the answers that it continues. prefixes: of its conversation,
    the longest first."""

    name: bytes | None
    links: tuple[bytes, ...]
    prefixes: tuple[bytes, ...]


# What a key leads to: that of a name, of a conversation, or of a call or an answer.
Changed = Session | Branch | Made
# Receives a key and what it leads to now, in any thread.
OnChange = Callable[[bytes, Changed], None]


class Sessions:
    """The sessions of one process; they outlive a reload. entropy: the source of the seeds. most:
    see MOST_KEPT. on_change: set where other processes are told of what changes."""

    def __init__(self, entropy: random.Random, most: int = MOST_KEPT) -> None:
        self._entropy = entropy
        self._key = secrets.token_bytes(32)
        self._most = most
        self.on_change: OnChange | None = None
        # All sessions in use, by their seeds, where they are shared.
        self._by_seed: WeakValueDictionary[int, Session] = WeakValueDictionary()
        self._named: OrderedDict[bytes, Session] = OrderedDict()
        self._branches: OrderedDict[bytes, Branch] = OrderedDict()
        self._calls: OrderedDict[bytes, Made] = OrderedDict()
        self._tasks: deque[Task] = deque()

    def visit(
        self,
        caller: str,
        name: str | None,
        messages: Sequence[Mapping[str, Any]],
        prefixes: Sequence[bytes],
        *,
        now_s: float,
        ttl_s: float,
        follows: str | None = None,
    ) -> Visit:
        """Finds the session of a request; changes nothing.

        name: see session_named. messages: in the form of chat completions. prefixes: a hash of each
        prefix of them, the last one for all messages; they cover the caller. follows: the answer
        that the request names as its predecessor, see `answered`. ttl_s: how many seconds an unused
        session lasts.
        """
        oldest_s = now_s - ttl_s
        results = results_at_end(messages)
        branch = key = session = None
        if results is not None or follows is not None:
            branch = self._linked(caller, results, follows, oldest_s, messages, prefixes)
        elif len(messages) > 1:
            branch = self._begun(messages, prefixes, oldest_s)
        if name is not None:
            key = self._hash(caller, "name", name)
            session = self._named.get(key)
            if results is None and branch is not None and branch.session is not session:
                branch = None
        elif branch is not None:
            session = branch.session
        is_new = session is None or session.used_s < oldest_s
        if session is None or is_new:
            session = Session(self._entropy.getrandbits(63), now_s)
        whole = prefixes[-1] if prefixes else None
        return Visit(caller, session, is_new, branch, results, key, whole)

    def enter(self, visit: Visit, now_s: float) -> bool:
        """Records that the request is decided now. Returns True where another request has opened
        its session since the visit: then it belongs to that session."""
        joins = False
        if visit.name is not None:
            met = self._named.get(visit.name)
            if visit.is_new and met is not None and met.used_s >= visit.session.used_s:
                visit.session, visit.is_new, joins = met, False, True
            _put(self._named, visit.name, visit.session, self._most)
        visit.session.used_s = now_s
        if self.on_change is not None:
            self._by_seed[visit.session.seed] = visit.session
        return joins

    def drawn(self, visit: Visit, models: Iterable[str]) -> None:
        """Records a draw. models: those of the mix, in the order in which they share the draw.
        Models that are new to the session are appended."""
        for name in models:
            if name not in visit.session.order:
                visit.session.order += (name,)
        if self.on_change is not None and visit.name is not None:
            self.on_change(visit.name, visit.session)

    def answered(
        self,
        visit: Visit,
        model: str,
        answer: str | None = None,
        budget_usd: Decimal | None = None,
    ) -> Branch:
        """Records that a model has begun to answer. answer: a name by which later requests may
        refer to this answer. budget_usd: see Branch."""
        same = None if visit.whole is None else self._branches.get(visit.whole)
        branch = Branch(visit.session, model, budget_usd)
        if same is not None and same.session is visit.session:
            # The same request, sent again.
            branch.number, branch.is_continued = same.number, same.is_continued
        else:
            branch.number = self._number(visit)
        visit.number = branch.number
        if visit.whole is not None:
            _put(self._branches, visit.whole, branch, self._most)
        if self.on_change is not None:
            branch.mark = self._entropy.getrandbits(63)
            self._tell(visit, branch)
        if answer is not None:
            self._link(self._hash(visit.caller, "answer", answer), branch)
        return branch

    def called(self, visit: Visit, branch: Branch, call: str) -> None:
        """Records that the answer of a branch has called a tool, by this id. May be called in a
        thread."""
        if branch.task is None and visit.task is not None:
            branch.task = visit.task
            self._hold(visit.task)
        self._link(self._hash(visit.caller, "call", call), branch)

    def missing(
        self,
        visit: Visit,
        messages: Sequence[Mapping[str, Any]],
        prefixes: Sequence[bytes],
        follows: str | None = None,
    ) -> Missing | None:
        """What other processes may know of a request, see `visit`; None where this one knows all
        that there can be."""
        calls = () if visit.results is None else visit.results.calls[:_LINKS_ASKED]
        links = [self._hash(visit.caller, "call", call) for call in calls]
        if follows is not None:
            links.append(self._hash(visit.caller, "answer", follows))
        made = (self._calls.get(link) for link in links)
        is_known = visit.branch is not None and any(m and not m.is_unsure for m in made)
        asked: tuple[bytes, ...] = ()
        if not is_known:
            end = before_answer(messages)
            begun = list(prefixes[max(0, end - _PREFIXES_ASKED) : end])
            is_known = bool(begun) and visit.branch is not None and begun[-1] in self._branches
            asked = () if is_known else tuple(reversed(begun))
        found = Missing(visit.name, () if is_known else tuple(links), asked)
        # Where something is asked for anyway, what another process has added to the session too.
        is_named = visit.name is not None and visit.is_new
        return found if is_named or found.links or asked else None

    def known(self, session: Session) -> Session:
        """The session of this process that is the same as one of another process, which is taken
        in where there is none yet."""
        own = self._by_seed.setdefault(session.seed, session)
        own.used_s = max(own.used_s, session.used_s)
        own.n_branches = max(own.n_branches, session.n_branches)
        own.n_requests = max(own.n_requests, session.n_requests)
        if own.budget_share is None:
            own.budget_share = session.budget_share
        if own.given_usd is None:
            own.given_usd = session.given_usd
        own.order += tuple(name for name in session.order if name not in own.order)
        return own

    def take_session(self, name: bytes, session: Session) -> None:
        """Takes in what another process knows: the session of a name."""
        _put(self._named, name, session, self._most)

    def take_link(self, link: bytes, made: Made) -> None:
        """Takes in what another process knows: the answer that made a call, or has a name."""
        _put(self._calls, link, made, self._most * _CALLS_EACH)

    def take_prefix(self, prefix: bytes, branch: Branch) -> None:
        """Takes in what another process knows: the request that a conversation continues."""
        _put(self._branches, prefix, branch, self._most)

    def rekey(self, key: bytes) -> None:
        """Uses another key for hashes, on which processes have agreed. What was recognised by
        hashes with the old key is forgotten."""
        if key != self._key:
            self._key = key
            for table in (self._named, self._branches, self._calls):
                table.clear()

    def _tell(self, visit: Visit, branch: Branch) -> None:
        if self.on_change is None:
            return
        if visit.name is not None:
            self.on_change(visit.name, visit.session)
        if visit.whole is not None:
            self.on_change(visit.whole, branch)

    def _number(self, visit: Visit) -> int:
        """Which branch of its session a request is: that of the request that it continues, or a
        new one."""
        session, before = visit.session, visit.branch
        if before is not None and before.session is session and not before.is_continued:
            before.is_continued = True
            return before.number
        session.n_branches += 1
        return session.n_branches - 1

    def _hold(self, task: Task) -> None:
        if task.is_held:
            return
        task.is_held = True
        self._tasks.append(task)
        if len(self._tasks) > self._most * _BOARDS_EACH:
            self._tasks.popleft().board = None

    def _link(self, key: bytes, branch: Branch) -> None:
        known = self._calls.get(key)
        unsure = known is not None and (known.is_unsure or known.branch is not branch)
        made = Made(branch, unsure)
        _put(self._calls, key, made, self._most * _CALLS_EACH)
        if self.on_change is not None:
            self.on_change(key, made)

    def _linked(
        self,
        caller: str,
        results: Results | None,
        follows: str | None,
        oldest_s: float,
        messages: Sequence[Mapping[str, Any]],
        prefixes: Sequence[bytes],
    ) -> Branch | None:
        """The branch that a request continues: by a call whose result it brings, where the id
        belongs to one call only; by the answer that it names; by the longest known prefix."""
        links = [] if results is None else [("call", call) for call in results.calls]
        if follows is not None:
            links.append(("answer", follows))
        made = (self._calls.get(self._hash(caller, *link)) for link in links)
        known = (m for m in made if m is not None and m.branch.session.used_s >= oldest_s)
        first = next(known, None)
        if first is not None and not first.is_unsure:
            return first.branch
        begun = self._begun(messages, prefixes, oldest_s)
        return first.branch if begun is None and first is not None else begun

    def _begun(
        self,
        messages: Sequence[Mapping[str, Any]],
        prefixes: Sequence[bytes],
        oldest_s: float,
    ) -> Branch | None:
        if not (self._branches and has_answer(messages)):
            return None
        for prefix in reversed(prefixes[:-1]):
            branch = self._branches.get(prefix)
            if branch is not None and branch.session.used_s >= oldest_s:
                return branch
        return None

    def _hash(self, *said: str) -> bytes:
        text = "\0".join(said).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=_HASH_BYTES).digest()


def _put(table: OrderedDict[bytes, T], key: bytes, value: T, most: int) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > most:
        table.popitem(last=False)
