"""Converts Anthropic's turns of content blocks to messages of chat completions."""

from __future__ import annotations

from typing import Any, Final

import orjson

from server.adapting.client_notes import NOTE, without_note
from server.adapting.deferred import tool_found
from server.adapting.tool_changes import CHANGES, ToolChanges
from server.errors import InvalidRequestError
from server.surfaces.chat.request import check_number
from server.surfaces.messages.earlier import NOTHING_SAID, result_in_words, words_of
from server.upstream.carried import put_back
from server.upstream.seal import unsealed

Block = dict[str, Any]
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
# Claude Code looks for this message: it then retries without system turns.
_NO_SYSTEM: Final = "role 'system' is not supported on this model"
_UNTIL_NEXT: Final = "next_user_message"


class Bridge:
    """Collects messages. `gap` names the first thing that chat completions cannot express.

    left_out: the names of other things that they cannot express and that may be dropped. changes:
    tools that are added and removed within the conversation. effort: the effort that the last turn
    with one asks for.
    """

    def __init__(self) -> None:
        self.messages: list[Block] = []
        self.gap: str | None = None
        self.left_out: dict[str, None] = {}
        self.changes = ToolChanges()
        self.effort: object = None
        self._n_system = 0
        self._passing: list[int] = []

    def lacks(self, what: str) -> None:
        """Notes something essential that chat completions cannot express."""
        self.gap = self.gap or what

    def leaves_out(self, name: str) -> None:
        """Notes a field or a block that chat completions cannot express and that may be dropped."""
        self.left_out[name] = None

    def system(self, system: object) -> None:
        """Adds the system prompt, where there is one."""
        if system is not None:
            texts = [self._text(block) for block in _blocks(system, "system")]
            said = [bare for text in texts if (bare := without_note(text))]
            if len("".join(said)) < len("".join(texts)):
                self.leaves_out(f"system.{NOTE}")
            if said:
                self.messages.append({"role": "system", "content": "\n\n".join(said)})
                self._n_system = 1

    def add(self, turns: object) -> None:
        """Adds the turns of `messages`. Raises InvalidRequestError, which names the turn."""
        if not isinstance(turns, list) or not turns:
            raise InvalidRequestError(
                "messages must be a list with at least one message.", param="messages"
            )
        check_number(turns, "messages")
        for index, turn in enumerate(turns):
            param = f"messages[{index}]"
            role = turn.get("role") if isinstance(turn, dict) else None
            if role == "user":
                self._clear_passed()
                self._user(_blocks(turn.get("content"), f"{param}.content"), f"{param}.content")
            elif role == "assistant":
                blocks = _blocks(turn.get("content"), f"{param}.content")
                self._assistant(blocks, f"{param}.content")
            elif role == "system":
                self._system_turn(turn, f"{param}.content")
            else:
                raise InvalidRequestError(
                    f"{param}.role must be user, assistant or system.", param=f"{param}.role"
                )
        if turns[-1]["role"] == "assistant":
            self.lacks("an answer that is begun by the caller")

    def _system_turn(self, turn: Block, param: str) -> None:
        config = turn.get("output_config")
        if isinstance(config, dict) and config.get("effort") is not None:
            self.effort = config["effort"]
        texts, said_for_ever = [], []
        # A turn may consist of a thinking effort alone.
        for block in _blocks(turn.get("content") or "", param):
            if block["type"] in CHANGES:
                said_for_ever += [said] if (said := self.changes.take(block)) else []
            elif block["type"] == "text":
                texts.append(str(block.get("text", "")))
            else:
                self.lacks(f"blocks of type {block['type'][:40]} there: {_NO_SYSTEM}")
        passes = turn.get("clear_at") == _UNTIL_NEXT
        for said, is_passing in (("\n\n".join(said_for_ever), False), ("\n\n".join(texts), passes)):
            if said.strip():
                self._passing += [len(self.messages)] if is_passing else []
                self.messages.append({"role": "system", "content": said})

    def _clear_passed(self) -> None:
        """Drops content that was to be kept only until the user's next turn."""
        for index in reversed(self._passing):
            del self.messages[index]
        self._passing = []

    def _user(self, blocks: list[Block], param: str) -> None:
        for index, block in enumerate(blocks):
            if block["type"] == "tool_result":
                self.messages.append(self._result(block, f"{param}[{index}]"))
        parts = [p for b in blocks if b["type"] != "tool_result" for p in self._part(b)]
        if len(parts) == 1 and parts[0]["type"] == "text":
            self.messages.append({"role": "user", "content": parts[0]["text"]})
        elif parts:
            self.messages.append({"role": "user", "content": parts})

    def _assistant(self, blocks: list[Block], param: str) -> None:
        texts, calls, thoughts, words = [], [], list[Any](), ""
        for index, block in enumerate(blocks):
            kind = block["type"]
            if kind == "text":
                texts.append(str(block.get("text", "")))
            elif kind == "tool_use":
                _check_texts(block, ("id", "name"), f"{param}[{index}]")
                arguments = orjson.dumps(block.get("input") or {}).decode()
                function = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            elif kind == "compaction":
                self._compacted(block)
            elif kind in _THOUGHTS:
                thoughts += unsealed(kept_in(block))
                words += str(block.get("thinking") or "")
            else:
                texts.append(self._said_earlier(block))
        if not (calls or thoughts or any(texts)):
            return
        message: Block = {"role": "assistant", "content": "".join(texts) or None}
        message |= {"tool_calls": calls} if calls else {}
        put_back(message, thoughts, words)
        self.messages.append(message)

    def _said_earlier(self, block: Block) -> str:
        """The text of an answer's other blocks: the results of tools that the provider ran."""
        said = result_in_words(block)
        if said is not None:
            return said
        if block["type"] in NOTHING_SAID:
            self.leaves_out(f"messages.content.{block['type']}")
            return ""
        return self._text(block)

    def _compacted(self, block: Block) -> None:
        """A summary replaces everything before it; a summary that failed replaces nothing."""
        summary = block.get("content")
        for change in block.get("tool_changes") or ():
            if isinstance(change, dict):
                self.changes.take(change)
        if isinstance(summary, str):
            del self.messages[self._n_system :]
            self._passing = []
            said = f"<summary>\n{summary}\n</summary>"
            self.messages.append({"role": "user", "content": said})
        elif block.get("encrypted_content") is not None:
            self.lacks("a summary that only its own provider can read")

    def _result(self, block: Block, param: str) -> Block:
        _check_texts(block, ("tool_use_id",), param)
        inside = _blocks(block.get("content") or "", f"{param}.content")
        parts = [part for b in inside for part in self._part(b)]
        content: str | list[Block] = parts
        if all(part["type"] == "text" for part in parts):
            content = "\n".join(part["text"] for part in parts)
        return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}

    def _part(self, block: Block) -> list[Block]:
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        kind, how = block["type"], source.get("type")
        inline = f"data:{source.get('media_type')};base64,{source.get('data')}"
        if kind == "text":
            return [{"type": "text", "text": str(block.get("text", ""))}]
        if kind == "image" and how in ("base64", "url"):
            url = inline if how == "base64" else source.get("url")
            return [{"type": "image_url", "image_url": {"url": url}}]
        if kind == "document" and how == "base64":
            name = block.get("title") or "document.pdf"
            return [{"type": "file", "file": {"filename": name, "file_data": inline}}]
        if kind == "document" and how == "text":
            return [{"type": "text", "text": str(source.get("data", ""))}]
        if kind == "tool_reference":
            self.changes.load(block.get("tool_name"))
            return [{"type": "text", "text": tool_found(block.get("tool_name"))}]
        if kind == "search_result":
            return [{"type": "text", "text": words_of(block)}]
        self.lacks(f"blocks of type {kind[:40]} like this one")
        return []

    def _text(self, block: Block) -> str:
        if block["type"] != "text":
            self.lacks(f"blocks of type {block['type'][:40]} in this place")
        return str(block.get("text", ""))


def kept_in(block: Block) -> object:
    """The data that a thought's provider wants back; it is sealed where the provider was not
    Anthropic."""
    return block.get("data" if block.get("type") == "redacted_thinking" else "signature")


def _check_texts(block: Block, names: tuple[str, ...], param: str) -> None:
    for name in names:
        if not isinstance(block.get(name), str):
            place = f"{param}.{name}"
            raise InvalidRequestError(f"{place} must be a string.", param=place)


def _blocks(content: object, param: str) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise InvalidRequestError(f"{param} must be text or a list of blocks.", param=param)
    for index, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            place = f"{param}[{index}]"
            raise InvalidRequestError(f"{place} must be an object with a type.", param=place)
    return content
