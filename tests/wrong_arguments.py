"""What every command must do with a wrong argument: say so in one line, end with status 2, and change nothing."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sparbor.printable import printable

Main = Callable[[Sequence[str]], int]


def contents(folder: Path) -> dict[str, bytes | str | None]:
    """All that lies in the folder, hidden files too."""

    def content(path: Path) -> bytes | str | None:
        if path.is_symlink():
            return str(path.readlink())
        return path.read_bytes() if path.is_file() else None

    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*")}


def refusal(main: Main, arguments: Sequence[str], folder: Path, captured: pytest.CaptureFixture[str]) -> str:
    """The one line that is said; it was said on standard error, with status 2, and the folder is as it was."""
    before = contents(folder)
    captured.readouterr()
    try:
        status: int | str | None = main(arguments)
    except SystemExit as end:  # argparse ends the program itself
        status = end.code
    line = captured.readouterr().err
    assert status == 2, line
    assert line.count("\n") == 1, line
    assert printable(line.removesuffix("\n")) == line.removesuffix("\n")
    assert contents(folder) == before
    return line


def commands_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that has none within, with its words, such as ``onnx pack``."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield parser.prog.partition(" ")[2], parser
    for action in inner:
        for command in action.choices.values():
            yield from commands_of(command)


def name_of(argument: argparse.Action) -> str:
    """The option, or what a positional argument is called in the help."""
    return argument.option_strings[-1] if argument.option_strings else str(argument.metavar)


def arguments_of(command: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """All arguments of a command by their names."""
    return {name_of(argument): argument for argument in command._actions}


def takes_any_value(argument: argparse.Action) -> bool:
    """Whether its values are not all known to the parser; a flag has none."""
    return argument.nargs != 0 and argument.choices is None


def wrong_by_form(command: argparse.ArgumentParser, line: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """What the parser itself must refuse, and a part of what it says; ``line`` is right but for what is added."""
    yield [*line, "--frobnicate"], "unrecognized arguments: --frobnicate"
    yield [*line, "one-too-many"], "unrecognized arguments: one-too-many"
    for name, argument in arguments_of(command).items():
        if argument.nargs == 0:
            yield [*line, f"{name}=3"], f"{name}: ignored explicit argument '3'"
        elif argument.option_strings:
            yield [*line, name], f"argument {name}: expected one argument"
        if argument.choices is not None and argument.option_strings:
            yield [*line, f"{name}=nonsense"], f"argument {name}: invalid choice: 'nonsense' (choose from "
        if argument.type in (int, float):
            for value in ("six", "", *(["1.5", "nan"] if argument.type is int else [])):
                yield [*line, f"{name}={value}"], f"argument {name}: invalid {argument.type.__name__} value: {value!r}"
