"""`p2l-router completion`: prints a shell's completion script, made from the parser itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from server.commands.parsers import verb_parser
from server.commands.verbs import VERBS

_BASH: Final = """\
# Completion of p2l-router for bash; made by `p2l-router completion bash`. Keep it in
# ~/.local/share/bash-completion/completions/p2l-router
_p2l_router() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}
  local key=$verb words="" among=""
  [ "$COMP_CWORD" -gt 2 ] && key="$verb ${COMP_WORDS[2]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="@VERBS@ --help --version"
  else
    case "$verb $prev" in
@CHOICES@
      *)
        case "$key" in
@ACTIONS@
          *)
            case "$verb" in
@FLAGS@
            esac ;;
        esac ;;
    esac
    [[ $prev == --* && $cur != -* && -z $among ]] && words=""
  fi
  COMPREPLY=( $(compgen -W "$words" -- "$cur") ) || true
}
complete -o default -F _p2l_router p2l-router
"""
_ZSH: Final = """\
# Completion of p2l-router for zsh; made by `p2l-router completion zsh`. Read it in ~/.zshrc:
#     source <(p2l-router completion zsh)
(( $+functions[compdef] )) || { autoload -U +X compinit && compinit }
autoload -U +X bashcompinit && bashcompinit
"""

# The flags that no verb precedes.
_GENERAL: Final = {"help": "Show the verbs.", "version": "Show the version."}


@dataclass(frozen=True, slots=True)
class Words:
    """What may follow a verb, or an action of it. flags: with their help. valued: the flags that a
    value follows. choices: by the flag or, for an argument, by its place. actions: by name."""

    flags: dict[str, str] = field(default_factory=dict)
    valued: set[str] = field(default_factory=set)
    choices: dict[str, list[str]] = field(default_factory=dict)
    actions: dict[str, Words] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("shell", choices=["bash", "zsh", "fish"],
                        help="The shell that is to complete.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    words = {verb: words_of(verb_parser(verb)) for verb in VERBS}
    script = _SCRIPTS[args.shell](words)
    print(json.dumps({"shell": args.shell, "script": script}) if args.json else script)
    return 0


def words_of(parser: argparse.ArgumentParser) -> Words:
    """The words of a parser and of its actions."""
    words = Words()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            words.actions.update({n: words_of(one) for n, one in action.choices.items()})
        elif action.help != argparse.SUPPRESS:
            names = [name for name in action.option_strings if name.startswith("--")]
            words.flags.update(dict.fromkeys(names, action.help or ""))
            words.valued.update(name for name in names if action.nargs != 0)
            for name in names or [action.dest]:
                if action.choices is not None:
                    words.choices[name] = [str(choice) for choice in action.choices]
    return words


def _bash(words: dict[str, Words]) -> str:
    choices = [
        f'      "{verb} {flag}") words="{" ".join(among)}" among=1 ;;'
        for verb, one in words.items()
        for flag, among in one.choices.items()
        if flag.startswith("--")
    ]
    actions = [
        f'          "{verb} {action}") words="{" ".join(own.flags)}" ;;'
        for verb, one in words.items()
        for action, own in one.actions.items()
    ]
    flags = [
        f'              {verb}) words="{" ".join(_first(one))}" ;;' for verb, one in words.items()
    ]
    parts = {"VERBS": [" ".join(words)], "CHOICES": choices, "ACTIONS": actions, "FLAGS": flags}
    script = _BASH
    for name, lines in parts.items():
        script = script.replace(f"@{name}@", "\n".join(lines))
    return script


def _first(words: Words) -> list[str]:
    """What may come right after the verb."""
    positional = [
        word for name, among in words.choices.items() if not name.startswith("--") for word in among
    ]
    return [*words.actions, *positional, *words.flags]


def _zsh(words: dict[str, Words]) -> str:
    return _ZSH + _bash(words)


def _fish(words: dict[str, Words]) -> str:
    lines = [
        "# Completion of p2l-router for fish; made by `p2l-router completion fish`. Keep it in",
        "# ~/.config/fish/completions/p2l-router.fish",
    ]
    for flag, said in _GENERAL.items():
        lines.append(_complete("__fish_use_subcommand", f"-f -l {flag}", said))
    for verb, (summary, _) in VERBS.items():
        lines.append(_complete("__fish_use_subcommand", f"-f -a {verb}", summary))
    for verb, one in words.items():
        lines += _fish_words(f"__fish_seen_subcommand_from {verb}", one)
        for action, own in one.actions.items():
            after = f"__fish_seen_subcommand_from {verb}; and __fish_seen_subcommand_from {action}"
            lines.append(_complete(f"__fish_seen_subcommand_from {verb}", f"-f -a {action}", ""))
            lines += _fish_words(after, own)
    return "\n".join(lines) + "\n"


def _fish_words(condition: str, words: Words) -> Iterator[str]:
    for flag, said in words.flags.items():
        among = words.choices.get(flag)
        more = " -r" if flag in words.valued else ""
        if among is not None:
            more = f" -x -a '{' '.join(among)}'"
        yield _complete(condition, f"-l {flag.removeprefix('--')}{more}", said)
    for name, among in words.choices.items():
        if not name.startswith("--"):
            yield _complete(condition, f"-f -a '{' '.join(among)}'", "")


def _complete(condition: str, what: str, said: str) -> str:
    quoted = said.replace("\\", "").replace("'", "\\'")
    described = f" -d '{quoted}'" if said else ""
    return f"complete -c p2l-router -n '{condition}' {what}{described}"


_SCRIPTS: Final[dict[str, Callable[[dict[str, Words]], str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
