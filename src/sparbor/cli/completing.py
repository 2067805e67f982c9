"""``sparbor completion``: what a shell completes the words of this command line by."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from sparbor.cli.parser import add_command
from sparbor.extras import brought_by

PATHS = ("FILE", "DIR", "DIRECTORY", "MODEL")  # what arguments are called that name a file or a directory
SHELLS = {  # and what is to stand where they begin
    "bash": 'eval "$(sparbor completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(sparbor completion zsh)"  # in ~/.zshrc, after compinit',
    "fish": "sparbor completion fish | source  # in ~/.config/fish/config.fish",
    "tcsh": "sparbor completion tcsh > ~/.sparbor.tcsh; source ~/.sparbor.tcsh  # in ~/.tcshrc",
}


def add(commands: Any, parser: argparse.ArgumentParser) -> None:
    """The command, which completes all commands of ``parser``."""
    about = "Print what makes a shell complete these commands, their options and file names."
    command = add_command(commands, "completion", lambda options: print_completion(options.shell, parser), about)
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = "Put one of these where your shell begins:\n  " + "\n  ".join(SHELLS.values())
    command.add_argument("shell", choices=tuple(SHELLS), metavar="SHELL", help=", ".join(SHELLS))


def print_completion(shell: str, parser: argparse.ArgumentParser) -> None:
    """Print the shell's script."""
    with brought_by("completion", "sparbor completion"):
        import shtab
    for action in _actions(parser):
        if action.metavar in PATHS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # by which shtab knows
    print(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of a parser and all its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
