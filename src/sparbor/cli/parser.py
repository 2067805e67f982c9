"""A parser of options that says in one line what is wrong, and what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from sparbor.printable import printable

EXIT_BAD_INPUT = 2
Run = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        meant = _meant(message, self._words())
        hint = f"did you mean {meant}? " if meant else ""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {printable(message)} ({hint}see {self.prog} --help)\n")

    def _words(self) -> set[str]:
        """All options, those of commands too: the outer parser hears of what none of them knows."""
        words = set(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    words |= command._words()
        return words


def _meant(message: str, words: Iterable[str]) -> str | None:
    """The nearest word to the one that a message of argparse complains of, if one is near."""
    if choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
        given, words = choice[1], re.findall(r"[\w.-]+", choice[2])
    elif unknown := re.search(r"unrecognized arguments: (--[\w-]+)", message):
        given = unknown[1]
    else:
        return None
    return next(iter(difflib.get_close_matches(given, words, 1)), None)


def add_command(commands: Any, name: str, run: Run, about: str) -> argparse.ArgumentParser:
    """A command, which ``run`` carries out."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
    command.set_defaults(run=run)
    return command


def add_model(command: argparse.ArgumentParser) -> None:
    """The file that most commands are about."""
    command.add_argument("file", metavar="FILE", help="a deployed model")


def add_out(command: argparse.ArgumentParser, metavar: str, what: str) -> None:
    """Where something is written, and whether what lies there gives way."""
    command.add_argument("--out", required=True, metavar=metavar, help=what)
    command.add_argument("--force", action="store_true", help="replace a file that is there")


def add_weights(command: argparse.ArgumentParser, default: str) -> None:
    """How weights are stored."""
    ways = ("word16", "exact", "int8")
    command.add_argument("--weights", choices=ways, default=default, help=f"how they are stored (default: {default})")


def add_json(command: argparse.ArgumentParser) -> None:
    """For scripts."""
    command.add_argument("--json", action="store_true", help="print JSON")
