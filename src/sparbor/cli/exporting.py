"""``sparbor export``: a deployed model as what runs without Sparbor."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sparbor.cli.parser import add_command, add_model
from sparbor.cli.saying import say
from sparbor.export.targets import EXPORTERS
from sparbor.files import check_apart


def add(commands: Any) -> None:
    """The command."""
    command = add_command(commands, "export", export_model, "Make of a deployed model what runs without Sparbor.")
    add_model(command)
    option = command.add_argument
    option("--to", required=True, choices=sorted(EXPORTERS), help="what to make of it")
    option("--out", type=Path, required=True, help="the directory (c) or the file (onnx) to write")
    option("--name", help="of the exported model (default: FILE's, without its ending)")
    option("--force", action="store_true", help="write beside other files; replace an earlier export")
    option("--sparse", action="store_true", help="to onnx: with operators of Sparbor's, which ONNX Runtime can load")


def export_model(options: argparse.Namespace) -> None:
    """Write the model for another target and say what was written."""
    from sparbor.program.model_file import load

    file = Path(options.file)
    name = file.name.partition(".")[0] if options.name is None else options.name
    check_apart(options.out, file)
    say(EXPORTERS[options.to](load(file), options.out, name, options.force, options.sparse))
