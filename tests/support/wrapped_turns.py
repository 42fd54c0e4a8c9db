"""A user's turn as each client sends it: the question, and what the client puts around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# By client: from the question to the parts of the turn.
WRAPPED: dict[str, Callable[[str], Sequence[str]]] = {
    "Claude Code": lambda q: (
        "<system-reminder>\nUse this context:\n# gitStatus\nmain <clean>\n</system-reminder>",
        "<system-reminder>\nEnd commit messages with:\nCo-Authored-By: C <c@d.example>\n"
        "</system-reminder>\n",
        q,
    ),
    "Claude Code, in one text": lambda q: (
        f"<system-reminder>Never speak of a <system-reminder>.</system-reminder>\n\n{q}\n"
        "<system-reminder>The file a.py was changed.</system-reminder>",
    ),
    "Claude Code, a command": lambda q: (
        "<command-name>/ask</command-name>\n<command-message>ask</command-message>\n"
        f"<command-args>{q}</command-args>",
    ),
    "Claude Code, after a command": lambda q: (
        "<local-command-caveat>Caveat: these were made by commands.</local-command-caveat>",
        "<local-command-stdout>Set the model to opus</local-command-stdout>",
        "<bash-input>ls</bash-input>",
        "<bash-stdout>a b</bash-stdout><bash-stderr></bash-stderr>",
        f"<ide_opened_file>The user opened /a.py</ide_opened_file>{q}",
    ),
    "Claude Code, interrupted": lambda q: ("[Request interrupted by user for tool use]", q),
    "Codex": lambda q: (
        "# AGENTS.md instructions for /home/me/code\n\n<INSTRUCTIONS>\nBe brief.\n</INSTRUCTIONS>",
        "<environment_context>\n  <cwd>/home/me/code</cwd>\n  <shell>bash</shell>\n"
        "</environment_context>",
        q,
    ),
    "Codex, older": lambda q: (f"<user_instructions>\n\nBe brief.\n\n</user_instructions>\n{q}",),
    "Codex, in an editor": lambda q: (
        "# Context from my IDE setup:\n\n## Active file: a.py\n\n## Open tabs:\n- a.py: a.py\n\n"
        f"## My request for Codex:\n{q}\n",
    ),
    "opencode": lambda q: (
        q,
        'Called the Read tool with the following input: {"filePath":"/a.py"}',
        "<path>/a.py</path>\n<type>file</type>\n<content>\n1: a = 1\n</content>",
        "<system-reminder>\nYou are in plan mode.\n</system-reminder>",
    ),
    "opencode, older": lambda q: (q, "<file>\n00001| a = 1\n\n(End of file)\n</file>"),
    "qwen-code": lambda q: (
        "<system-reminder>\nSkills:\n<available_skills>\n<skill>\n<name>\na\n</name>\n</skill>\n"
        "</available_skills>\n</system-reminder>",
        f"{q}\n--- Content from referenced files ---\nContent from @a.py:\na = 1\n"
        "--- End of content ---",
    ),
    "Continue": lambda q: (f'<context name="a.py">\na = 1\n</context>\n\n{q}',),
    "pi": lambda q: (f'<file name="/a.py">\na = "<b>"\n</file>\n{q}',),
    "cline": lambda q: (
        f'<user_input mode="act">{q}</user_input>',
        "<mode_notice>The user switched from plan mode to act mode.</mode_notice>",
        '<file_content path="a.py">\na = 1\n</file_content>',
    ),
    "Roo Code": lambda q: (
        f"<task>\n{q}\n</task>",
        "# task_progress RECOMMENDED\n\nWhen you begin, it is good to make a list.",
        "<environment_details>\n# Open Tabs\na.py\n</environment_details>",
    ),
    "Roo Code, in one text": lambda q: (
        f"<task>{q}</task>\n\nRemember your rules.\n<environment_details>\nx\n"
        "</environment_details>",
    ),
    "Roo Code, a result with words": lambda q: (
        "[attempt_completion] Result:",
        f"The user has said something about the results.\n<feedback>\n{q}\n</feedback>",
        "<environment_details>\n# Time\n1 p.m.\n</environment_details>",
    ),
    "Cursor": lambda q: (
        "<additional_data>\n<current_file>\na = 1\n</current_file>\n</additional_data>\n"
        f"Below is what the user asks.\n<user_query>\n{q}\n</user_query>",
    ),
    "Copilot in VS Code": lambda q: (
        '<attachments>\n<attachment id="a.py">\na = 1\n</attachment>\n</attachments>\n'
        "<context>\nThe date is today.\n</context>\n<reminderInstructions>\nGo on.\n"
        f"</reminderInstructions>\n<userRequest>\n{q}\n</userRequest>",
    ),
}
