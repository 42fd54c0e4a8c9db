"""Extracts a person's own words from a turn, without the text that a client adds.

Coding agents and chat pages put reminders, the state of a workspace, attached files and results of
tools into the same turn as the question. That text is alike in all requests and hides the
differences between them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple


class _Kind(Enum):
    """CONTEXT: tags around text that no person wrote. WORDS: tags around a person's text; the rest
    of such a turn is the client's. MARKS: tags in the middle of a person's words."""

    CONTEXT = "context"
    WORDS = "words"
    MARKS = "marks"


# The client that writes the tags, their kind, and their names. A name with `=` counts only where
# its tag contains the text after the `=`: otherwise it is a word that people use in prompts of
# their own.
_TABLE: Final = (
    ("Claude Code", _Kind.CONTEXT,
     "system-reminder command-name command-message command-contents local-command-stdout "
     "local-command-stderr local-command-caveat bash-input bash-stdout bash-stderr "
     "ide_opened_file ide_selection ide_diagnostics new-diagnostics task-notification "
     "session-start-hook user-prompt-submit-hook post-tool-use-hook system-note cc-memory "
     "teammate-message agent-message cross-session-message user-memory-input mcp-resource "
     "persisted-output non-user-message tool_use_error"),
    ("Claude Code, cline", _Kind.MARKS, "command-args"),
    ("Codex", _Kind.CONTEXT,
     "environment_context environment_context_update user_instructions INSTRUCTIONS turn_aborted "
     "user_shell_command subagent_notification skill skills_instructions plugins_instructions "
     "apps_instructions permissions=instructions collaboration_mode personality_spec model_switch "
     "user_action current_time_reminder context_window_reminder codex_internal_context "
     "cursor_commands startup_context environments_instructions hook_prompt"),
    ("opencode, Claude Code, Cursor", _Kind.CONTEXT, "env"),
    ("opencode, pi, Continue, Zed", _Kind.CONTEXT, "file files"),
    ("opencode", _Kind.CONTEXT,
     "skill_content skill_files shell_metadata github_action_context system-update"),
    ("qwen-code, Gemini CLI", _Kind.CONTEXT,
     "session_context state_snapshot available_skills background-tasks"),
    ("qwen-code", _Kind.WORDS, "user-content"),
    ("Continue", _Kind.CONTEXT, "context=name attached_context context_items"),
    ("pi", _Kind.CONTEXT, "project_instructions console_output previous-summary"),
    ("cline, Roo Code, Kilo Code", _Kind.CONTEXT,
     "environment_details file_content folder_content url_content workspace_diagnostics "
     "git_working_state git_commit terminal_output explicit_instructions hook_context "
     "mode_notice command-instructions SYSTEM_NOTICE files_content mcp_resource "
     "focus_chain discord_message_context error_details final_file_content"),
    ("cline, Roo Code, Kilo Code", _Kind.WORDS, "user_input user_message"),
    ("cline, Roo Code, Kilo Code", _Kind.MARKS, "task feedback answer user_command=slash"),
    ("Cursor", _Kind.CONTEXT,
     "additional_data additional_metadata system_reminder user_info project_layout git_status "
     "open_and_recently_viewed_files attached_files attached_folders code_selection current_file "
     "linter_errors recently_viewed_files manually_added_selection cursor_rules_context "
     "always_applied_workspace_rules agent_requestable_workspace_rules user_rules agent_skills "
     "edit_history project_instructions custom_instructions external_links image_files"),
    ("Cursor, Open WebUI", _Kind.WORDS, "user_query"),
    ("Copilot in VS Code", _Kind.CONTEXT,
     "attachments attachment editorContext reminderInstructions environment_info "
     "workspace_info repoContext todoList toolReferences conversation-summary"),
    ("Copilot in VS Code", _Kind.WORDS, "userRequest user-request"),
    ("Goose, OpenHands", _Kind.CONTEXT, "info-msg ENVIRONMENT_CONTEXT RUNTIME_INFORMATION"),
)  # fmt: skip

# Blocks with a first and a last line instead of tags: qwen-code and Gemini CLI.
_BLOCKS: Final = (
    ("--- Content from referenced files ---", "--- End of content ---"),
    ("--- Content from MCP resource", "--- End of MCP resource content ---"),
)
# The text that an editor puts before the question, and how the question begins: Codex in an editor.
_PREAMBLES: Final = (
    ("# Context from my IDE setup:", "## My request for Codex:"),
    ("# Files mentioned by the user:", "## My request for Codex:"),
)
# A heading for the tags that follow it: Codex.
_HEADING: Final = "# AGENTS.md instructions"
_MOST_OF_HEADING: Final = 1_000
# Where this tag is present too, the marks enclose all that a person said.
_CLINES: Final = "environment_details"
# A turn, or a part of one, that begins like this is not a person's: Claude Code, qwen-code, Gemini
# CLI and cline.
_NOT_SAID: Final = (
    "Caveat: The messages below were generated by the user while running local commands",
    "This session is being continued from a previous conversation",
    "This is the Qwen Code. We are setting up the context",
    "This is the Gemini CLI. We are setting up the context",
    "# task_progress ",
    "# TODO LIST ",
)
# The note that a person interrupted the answer: Claude Code.
_STOPPED: Final = re.compile(r"\s*\[Request interrupted by user[^\]\n]{0,40}\]\s*")
# A part that begins like this is the result of a tool: cline and its relatives, opencode. Where it
# is only one line, the next part is the tool's output.
_RESULT: Final = re.compile(
    r"\[\w+(?: for '[^'\n]*')?\] Result:|Called the \w+ tool with the following input:"
)
# At most this much text, and this many tags in it, are read: no client writes more, and reading it
# would delay other requests. Of a longer text only the end is scored.
_MOST_READ: Final = 2_000_000
_MOST_TAGS: Final = 10_000
_TAG: Final = re.compile(r"<(/?)([A-Za-z][\w-]*+)([^<>]*+)>")


class _Tag(NamedTuple):
    name: str
    start: int
    end: int
    begins_line: bool


class _Span(NamedTuple):
    """A range of the text, from the start of the opening tag to the end of the closing one, and the
    range inside."""

    start: int
    inside: int
    inside_end: int
    end: int

    @property
    def edges(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The two tags."""
        return (self.start, self.inside), (self.inside_end, self.end)


def _kinds() -> dict[str, tuple[_Kind, str]]:
    kinds = {}
    for _, kind, names in _TABLE:
        for name in names.split():
            bare, _, attribute = name.partition("=")
            kinds[bare] = kind, attribute
    return kinds


_KINDS: Final = _kinds()


def said(turns: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """A person's words in each turn that has any, oldest first. turns: the texts of each turn.

    Where no turn has any, all of the text is returned, so that there is always something to score.
    Of texts that contain a client's text, the last two million characters are read.
    """
    turns = list(turns)
    room = _MOST_READ
    words = []
    for texts in reversed(turns):
        if len(texts) == 1 and not _may_be_wrapped(texts[0]):
            found = texts[0]
        elif any(map(_may_be_wrapped, texts)):
            found = persons_words(texts) if room > 0 else ""
            room -= sum(map(len, texts))
        else:
            found = _joined(texts)
        if found and not found.isspace():
            words.append(found)
    return tuple(reversed(words)) or tuple(map(_joined, turns))


def persons_words(texts: Sequence[str]) -> str:
    """A person's words in one turn; empty where all of it is the client's. texts: the turn's parts.
    A turn without any text of a client is returned unchanged."""
    if not any(map(_may_be_wrapped, texts)):
        return _joined(texts)
    kept = []
    is_output = False
    for text in _end_of(texts):
        begin = text.lstrip()
        is_result = is_output or _RESULT.match(begin) is not None
        is_output = is_result and not is_output and "\n" not in begin.rstrip()
        words = _of_part(_STOPPED.sub("", text, count=1), only_marked=is_result)
        if (words or words == text) and not words.startswith(_NOT_SAID):
            kept.append(words)
    return "\n".join(kept)


def _joined(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else "\n".join(texts)


def _end_of(texts: Sequence[str]) -> Sequence[str]:
    if sum(map(len, texts)) <= _MOST_READ:
        return texts
    room = _MOST_READ
    kept = []
    for text in reversed(texts):
        if room > 0:
            kept.append(text[-room:])
            room -= len(text)
    return kept[::-1]


def _may_be_wrapped(text: str) -> bool:
    if "<" in text or "--- Content from " in text:
        return True
    begin = text[:200].lstrip()
    return begin.startswith(("[", "#", "C", "This ")) and (
        begin.startswith((*_NOT_SAID, *(first for first, _ in _PREAMBLES)))
        or _RESULT.match(begin) is not None
        or _STOPPED.match(begin) is not None
    )


def _of_part(text: str, *, only_marked: bool) -> str:
    text = _without_preamble(text)
    spans: dict[_Kind, list[_Span]] = {kind: [] for kind in _Kind}
    tags = _tags_by_name(text)
    for name, of_name in tags.items():
        spans[_KINDS[name][0]] += _pairs(of_name)
    marks, words = spans[_Kind.MARKS], spans[_Kind.WORDS]
    context = _merged([*((s.start, s.end) for s in spans[_Kind.CONTEXT]), *_blocks(text)])
    if not (context or words or marks or only_marked):
        return text
    context = _merged([(_with_heading(text, start), end) for start, end in context])
    gone = [*context, *(edge for span in words + marks for edge in span.edges)]
    only_marked = only_marked or (len(marks) > 0 and _CLINES in tags)
    words = [s for s in words + (marks if only_marked else []) if not _within(s.start, context)]
    if words or only_marked:
        gone += _outside([(span.inside, span.inside_end) for span in words], len(text))
    kept = (text[start:end].strip() for start, end in _outside(gone, len(text)))
    return "\n".join(piece for piece in kept if piece)


def _without_preamble(text: str) -> str:
    begin = text[:200].lstrip()
    for first, last in _PREAMBLES:
        if begin.startswith(first) and last in text:
            return text.partition(last)[2].strip()
    return text


def _tags_by_name(text: str) -> dict[str, list[_Tag | None]]:
    """The known tags of a text in order, by name. None comes before each tag that closes."""
    found: dict[str, list[_Tag | None]] = {}
    n_tags = 0
    for match in _TAG.finditer(text):
        closes, name, rest = match.groups()
        kind = _KINDS.get(name)
        if kind is None or (kind[1] and not closes and kind[1] not in rest):
            continue
        n_tags += 1
        if n_tags > _MOST_TAGS:
            return {}
        line = text[max(0, match.start() - 40) : match.start()].rstrip(" \t")
        tag = _Tag(name, match.start(), match.end(), not line or line.endswith(("\n", ">")))
        tags = found.setdefault(name, [])
        if not closes:
            tags.append(tag)
        if closes or rest.endswith("/"):
            tags += None, tag
    return found


def _pairs(tags: Sequence[_Tag | None]) -> list[_Span]:
    """The spans between tags of one name. An opening tag at the beginning of a line that lacks its
    end, because another tag is mentioned inside it, takes the next end. Any other tag is plain
    text."""
    opened: list[_Tag] = []
    spans: list[_Span] = []
    closing = False
    for tag in tags:
        if tag is None:
            closing = True
        elif not closing:
            opened.append(tag)
        else:
            closing = False
            if opened:
                spans.append(_span(opened.pop(), tag))
    ends = [span.end for span in spans]
    for tag in opened:
        at = bisect_left(ends, tag.end)
        if tag.begins_line and at < len(spans):
            spans.append(_Span(tag.start, tag.end, spans[at].inside_end, spans[at].end))
    return spans


def _span(first: _Tag, last: _Tag) -> _Span:
    if last.start == first.start:
        return _Span(first.start, first.end, first.end, first.end)
    return _Span(first.start, first.end, last.start, last.end)


def _blocks(text: str) -> Iterable[tuple[int, int]]:
    for first, last in _BLOCKS:
        end = 0
        while (start := text.find(first, end)) >= 0 and (found := text.find(last, start)) >= 0:
            end = found + len(last)
            yield start, end


def _with_heading(text: str, start: int) -> int:
    """The start of a block, including the line before it that serves as its heading."""
    first = max(0, start - _MOST_OF_HEADING)
    at = text.rfind(_HEADING, first, start)
    return at if at >= 0 and "\n" not in text[at:start].rstrip() else start


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _outside(ranges: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The ranges of 0 to size that are in none of the given ranges."""
    outside, at = [], 0
    for start, end in _merged(ranges):
        if start > at:
            outside.append((at, start))
        at = max(at, end)
    return [*outside, (at, size)] if at < size else outside


def _within(place: int, merged: Sequence[tuple[int, int]]) -> bool:
    at = bisect_left(merged, (place + 1, 0)) - 1
    return at >= 0 and place < merged[at][1]
