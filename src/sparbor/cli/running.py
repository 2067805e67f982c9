"""``sparbor run``: a deployed model on an array."""

from __future__ import annotations

import argparse
import io
import warnings
from pathlib import Path
from typing import Any

from sparbor.cli.arrays import read_array
from sparbor.cli.parser import add_command, add_model
from sparbor.cli.saying import say, warn
from sparbor.errors import ArgumentError
from sparbor.files import check_free, write_file


def add(commands: Any) -> None:
    """The command."""
    command = add_command(commands, "run", run_model, "Run a deployed model on an array.")
    add_model(command)
    command.add_argument(
        "--input", type=Path, required=True, help="array (batch, ...) in a .npy file: float32, or uint8"
    )
    command.add_argument("--output", type=Path, required=True, help=".npy file for the result")
    command.add_argument("--threads", type=int, default=1, help="(default: 1)")


def run_model(options: argparse.Namespace) -> None:
    """Read an array, run the model, write the result at once or not at all."""
    import numpy as np

    from sparbor.engine.runtime import load

    check_free(options.output, True, Path(options.file), options.input)
    runtime = load(Path(options.file), threads=options.threads)
    x, content = np.ascontiguousarray(read_array(options.input)), io.BytesIO()
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            np.save(content, runtime(x))
        except ArgumentError as error:
            raise ArgumentError(f"input={str(options.input)!r}: {error}") from None
    for doubt in doubts:
        warn(f"sparbor: warning: {doubt.message}")
    write_file(options.output, content.getvalue())
    if (byte_input := runtime.program.byte_input) is not None:
        raw = f"raw pixel values, normalised with {byte_input.settings()}"
        say(f"took {options.input} ({x.dtype}) as {raw if x.dtype == np.uint8 else 'normalised already'}")
