"""``micropie completion bash``: print a script that completes the ``micropie`` command in a shell.

When the user presses Tab, the shell runs this command again, so it can complete an application's
own commands and their options, too. The command takes the words from the output of ``--help``.
"""

from __future__ import annotations

import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout

from micropie import SetupError
from micropie.cli import command, main
from micropie.cli.target import CommandError, find_target
from micropie.extensions import Outside

# If no word matches, each shell completes file names.
SCRIPTS = {
    "bash": """\
_micropie() {
    mapfile -t COMPREPLY < <(micropie completion --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o default -F _micropie micropie
""",
    "zsh": """\
_micropie() {
    local -a words_here
    words_here=(${(f)"$(micropie completion --line "$LBUFFER" 2>/dev/null)"})
    (( $#words_here )) && compadd -- $words_here || _files
}
compdef _micropie micropie
""",
    "fish": """\
complete -c micropie -a '(micropie completion --line (commandline -cp) 2>/dev/null)'
""",
}

# Matches an option and its value, if it has one, in a command's usage line: "--loop {asyncio,trio}"
# or "--port PORT".
_OPTION = re.compile(r"(--[\w-]+)(?: \{([^}]*)\}| ([A-Z]\w*))?")


def execute(arguments: Namespace) -> int:
    """Print the script for a shell, or the words that can complete a line."""
    if arguments.line is None:
        print(SCRIPTS[arguments.shell], end="")
    else:
        # Print nothing if no word matches: bash would take an empty line for a word, and not
        # complete file names.
        print("".join(f"{word}\n" for word in words_for(arguments.line)), end="")
    return 0


def words_for(line: str) -> list[str]:
    """Return the words that can replace the last word of a command line."""
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # a quote isn't closed yet
        return []
    last = words.pop() if words and not line[-1].isspace() else ""
    if words[-1:] in (["-a"], ["--app"]):
        return []
    before, rest = main.split(words)
    return [one for one in _candidates(before, rest, last) if one.startswith(last)]


def _candidates(before: Namespace, words: Sequence[str], last: str) -> Sequence[str]:
    parsers = main.parsers(before)
    if not words and not last.startswith("-"):
        return *main.COMMANDS, *_own_commands(before)
    parser = parsers.get(words[0] if words else "")
    if parser is None:
        own = _own_commands(before)
        if words[0] not in own:
            return ()
        parser = command.parser_of(own[words[0]][1]())
    usage = parser.format_usage()
    options = {name: (choices, value) for name, choices, value in _OPTION.findall(usage)}
    choices, value = options.get(words[-1] if words else "", ("", ""))
    if choices or value:
        return choices.split(",") if choices else ()
    if last.startswith("-"):
        return *options, "--help"
    shells = re.search(r"(?<!\S)\[?\{([^}]*)\}", _OPTION.sub("", usage))
    return [*shells[1].split(",")] if shells else ()


def _own_commands(before: Namespace) -> Mapping[str, command.Command]:
    """Return the application's own commands, or an empty mapping if the application can't be
    found.
    """
    try:
        # What the application prints when it is imported is not a word.
        with redirect_stdout(sys.stderr):
            target = find_target(main.app_name(before), before.factory)
        return command.commands_of(Outside(target.app))
    except (CommandError, SetupError):
        return {}
