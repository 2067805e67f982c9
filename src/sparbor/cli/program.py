"""``sparbor COMMAND ...``: all commands in one parser."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from sparbor import __version__
from sparbor.any_encoding import spell_what_is_missing
from sparbor.cli import (
    completing,
    deploying,
    exporting,
    inspecting,
    onnx_files,
    reporting,
    running,
    sparsifying,
    timing,
)
from sparbor.cli.ending import end_cleanly
from sparbor.cli.parser import Parser

COMMANDS = (
    inspecting,
    reporting,
    running,
    sparsifying,
    deploying,
    exporting,
    timing,
    onnx_files,
)  # in the order of --help


def new_parser() -> tuple[Parser, Any]:
    """A parser of all commands, and these."""
    parser = Parser(prog="sparbor", description="Dendritic networks: trained sparse, run sparse.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    completing.add(commands, parser)
    return parser, commands


def main(arguments: Sequence[str] | None = None) -> int:
    """``sparbor COMMAND ...``; returns the exit status."""
    spell_what_is_missing()
    parser, commands = new_parser()
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] == "benchmark":  # it was one of these commands: who knows it should not have to search
        parser.error(
            "the benchmark is not in the package: run `python main.py` in a checkout of Sparbor, with the same options"
        )
    options = parser.parse_args(given)
    if options.command is None:
        parser.error(f"a COMMAND is missing: one of {', '.join(commands.choices)}")
    return end_cleanly("sparbor", options)
