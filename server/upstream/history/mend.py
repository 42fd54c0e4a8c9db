"""Makes a conversation acceptable to one provider.

Every rule looks only at what precedes a message, and at the results directly after a call. So a
growing conversation keeps its prefix byte for byte, which prompt caches depend on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.adapting.prefill import is_beginning
from server.adapting.reminders import reminder
from server.adapting.stand_ins import (
    BEGIN,
    CONTINUE,
    EMPTY,
    NO_REASONING,
    NO_RESULT,
    NOTED,
    stray_result,
)
from server.upstream.carried import GOOGLE, signature_of
from server.upstream.history.calls import Calls
from server.upstream.history.content import (
    is_empty,
    joined,
    text_in,
    thoughts_and_rest,
    trimmed_content,
)
from server.upstream.history.rules import Rules
from server.upstream.signatures import is_foreign

Message = Mapping[str, Any]
_SYSTEM: Final = frozenset({"system", "developer"})
_BEHIND_A_CALL: Final = _SYSTEM | {"tool"}
_SPEAKERS: Final = frozenset({"user", "assistant"})
_PLAIN: Final = frozenset({"role", "content"})
# The places of data that was sealed or marked here, within the entries of a field.
_SEALED: Final = {"reasoning_details": ("data",), "thinking_blocks": ("signature", "data")}
# Fields that, where empty, mean the same as leaving them out.
_HOLLOW: Final = frozenset({"annotations", "audio", "function_call", "refusal", "tool_calls"})


def mended(messages: Sequence[Message], rules: Rules) -> Sequence[Message]:
    """The conversation as the provider accepts it; the same object where it is acceptable
    already."""
    if _is_plain(messages, rules):
        return messages
    mender = _Mender(rules)
    mender.add_all(messages)
    return mender.done()


def _is_plain(messages: Sequence[Message], rules: Rules) -> bool:
    """Whether there is only text, in an order that every provider accepts."""
    before = "system"
    for number, message in enumerate(messages):
        content = message.get("content")
        if content.__class__ is not str or not content or not message.keys() <= _PLAIN:
            return False
        role = message["role"]
        if role == "system" and number == 0:
            continue
        if role not in _SPEAKERS or (role == before and rules.alternates):
            return False
        if role == "assistant" and before == "system":
            return False
        before = role
    return before == "user" or (before == "assistant" and not rules.user_last)


class _Mender:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._out: list[Message] = []
        self._calls = Calls(rules)
        self._has_begun = False

    def add_all(self, messages: Sequence[Message]) -> None:
        index = 0
        while index < len(messages):
            message = messages[index]
            index += 1
            role = message["role"]
            if role == "assistant" and message.get("tool_calls"):
                end = index
                while end < len(messages) and messages[end]["role"] in _BEHIND_A_CALL:
                    end += 1
                self._with_results(message, messages[index:end])
                index = end
            else:
                self._add(message, role)

    def done(self) -> list[Message]:
        if not self._has_begun and self._rules.user_first:
            self._out.append({"role": "user", "content": BEGIN})
        if self._rules.user_last and self._ends_with_the_assistant():
            self._out.append({"role": "user", "content": CONTINUE})
        return self._out

    def _ends_with_the_assistant(self) -> bool:
        """Whether the last message is an answer, and not the beginning of the next one."""
        last = self._out[-1]
        return last["role"] == "assistant" and not is_beginning(last)

    def _add(self, message: Message, role: str) -> None:
        if role in _SYSTEM:
            self._system(message)
        elif role == "assistant":
            self._said(message)
        elif role == "tool":
            self._stray(message)
        elif role == "user":
            self._user(message)
        else:
            self._put(message)

    def _system(self, message: Message) -> None:
        content = message.get("content")
        if is_empty(content):
            return
        where = self._rules.system
        if where == "anywhere" or (not self._has_begun and where == "leading"):
            self._out.append(self._trimmed(message))
        elif self._has_begun:
            self._put({"role": "user", "content": reminder(text_in(content))})
        elif self._out:
            both = joined(self._out[-1]["content"], content)
            self._out[-1] = self._trimmed({**self._out[-1], "content": both})
        else:
            self._out.append({**self._trimmed(message), "role": "system"})

    def _user(self, message: Message) -> None:
        content = message.get("content")
        if is_empty(content) and not (self._rules.takes_empty and content == ""):
            message = {**message, "content": EMPTY}
        self._put(self._trimmed(message))

    def _said(self, message: Message) -> None:
        said = self._own_words(message)
        if is_empty(said.get("content")) and not _says_otherwise(said):
            return
        self._put(said)

    def _with_results(self, message: Message, behind: Sequence[Message]) -> None:
        calls, names = self._calls.named(message["tool_calls"])
        self._put({**self._own_words(message), "tool_calls": calls})
        results, stray = self._calls.paired(names, behind)
        for call, result in zip(calls, results, strict=True):
            found = {"content": NO_RESULT} if result is None else self._trimmed(result)
            if found.get("content") is None or found["content"] == []:
                found = {**found, "content": ""}
            self._out.append({**found, "role": "tool", "tool_call_id": call["id"]})
        for one in stray:
            self._add(one, one["role"])

    def _stray(self, message: Message) -> None:
        """Converts the result of a call that is missing."""
        content = message.get("content")
        if isinstance(content, list) and any(part.get("type") != "text" for part in content):
            named = {"type": "text", "text": stray_result("")}
            self._put(self._trimmed({"role": "user", "content": [named, *content]}))
        else:
            self._put({"role": "user", "content": stray_result(text_in(content))})

    def _put(self, message: Message) -> None:
        role = message["role"]
        if not self._has_begun:
            self._has_begun = True
            if role != "user" and self._rules.user_first:
                self._out.append({"role": "user", "content": BEGIN})
        last = self._out[-1] if self._out else {}
        if self._rules.answers_tools and role == "user" and last.get("role") == "tool":
            self._out.append({"role": "assistant", "content": NOTED})
        elif self._rules.alternates and role == last.get("role") and _merges(last, message):
            self._out[-1] = self._trimmed(_merged(last, message))
            return
        self._out.append(message)

    def _own_words(self, message: Message) -> dict[str, Any]:
        """The assistant's message without another provider's data."""
        rules = self._rules
        own = {n: v for n, v in message.items() if self._keeps(n, v)}
        content, thoughts = thoughts_and_rest(message.get("content"))
        if content is not message.get("content"):
            own["content"] = content
        refusal = message.get("refusal")
        if refusal and "refusal" not in own:
            own["content"] = joined(own.get("content"), str(refusal))
        if not rules.opens_seals:
            _without_sealed(own)
        if rules.reasoning != "as_given" and message.get("tool_calls"):
            known = thoughts_of(message) or thoughts
            if known or rules.reasoning == "has_to":
                own["reasoning_content"] = known or NO_REASONING
        return self._trimmed(own)

    def _keeps(self, name: str, value: object) -> bool:
        if not value and name in _HOLLOW:
            return False
        kept = self._rules.kept
        return name not in self._rules.foreign if kept is None else name in kept

    def _trimmed(self, message: Message) -> dict[str, Any]:
        kept = self._rules.kept_of_others
        if kept is not None and message["role"] != "assistant" and message.keys() - kept:
            message = {n: v for n, v in message.items() if n in kept}
        content = message.get("content")
        fitted = trimmed_content(content, self._rules)
        return dict(message) if fitted is content else {**message, "content": fitted}


def thoughts_of(message: Message) -> str:
    """The assistant's thoughts as text, whichever model it was; empty where they were not
    recorded."""
    for name in ("reasoning_content", "reasoning"):
        text = message.get(name)
        if isinstance(text, str) and text:
            return text
    for name, inside in (("thinking_blocks", "thinking"), ("reasoning_details", "text")):
        entries = message.get(name)
        found = [
            str(entry.get(inside) or "")
            for entry in (entries if isinstance(entries, list) else ())
            if isinstance(entry, Mapping)
        ]
        if any(found):
            return "".join(found)
    return ""


def _says_otherwise(said: Message) -> bool:
    """Whether a message without content has something else in it."""
    return any(said.get(name) for name in ("audio", "function_call", "refusal"))


def _without_sealed(own: dict[str, Any]) -> None:
    """Removes thoughts that were sealed or marked here for another provider."""
    if "extra_content" in own and is_foreign(signature_of(own)):
        del own["extra_content"]
    for name, places in _SEALED.items():
        entries = own.get(name)
        if not isinstance(entries, list):
            continue
        kept = [e for e in entries if not (isinstance(e, Mapping) and _is_foreign(e, places))]
        if kept:
            own[name] = kept
        else:
            del own[name]


def _is_foreign(entry: Mapping[str, Any], places: Sequence[str]) -> bool:
    return entry.get("type") == GOOGLE or any(is_foreign(entry.get(place)) for place in places)


def _merges(last: Message, message: Message) -> bool:
    return message["role"] == "user" or not last.get("tool_calls")


def _merged(last: Message, message: Message) -> Message:
    both = {**last, **message}
    content = joined(last.get("content"), message.get("content"))
    return both | ({"content": content} if content is not None else {})
