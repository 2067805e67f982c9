"""``sparbor onnx pack``: ONNX files whose sparse weights stay sparse in ONNX Runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sparbor.cli.arrays import read_arrays
from sparbor.cli.parser import Parser, add_command, add_out, add_weights
from sparbor.cli.saying import say
from sparbor.files import check_free


def add(commands: Any) -> None:
    """The commands of ONNX files."""
    parser = add_command(commands, "onnx", lambda _: parser.error("a COMMAND is missing: pack"), "Work on ONNX files.")
    about = "Keep a model's sparse weights sparse in ONNX Runtime, by operators of Sparbor's."
    inner = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    command = add_command(inner, "pack", pack_onnx, about)
    command.add_argument("file", type=Path, metavar="FILE", help="an ONNX model")
    add_out(command, "FILE", "the ONNX file to write")
    add_weights(command, "int8")
    command.add_argument(
        "--min-sparsity",
        type=float,
        default=0.6,
        metavar="SHARE",
        help="least share of zeros of a layer (default: 0.6)",
    )
    command.add_argument("--inputs", type=Path, metavar="FILE", help="arrays to compare answers with, in a .npz file")


def pack_onnx(options: argparse.Namespace) -> None:
    """Pack, compare, write, and say what became of each layer."""
    from sparbor.onnx import pack
    from sparbor.onnx.writing import write

    out = Path(options.out)
    check_free(out, options.force, options.file, *filter(None, [options.inputs]))
    inputs = None if options.inputs is None else read_arrays(options.inputs)
    packed = pack(options.file, options.weights, options.min_sparsity, inputs)
    write(packed.model, out)
    say(packed)
    say(f"{out}: {out.stat().st_size:,} bytes; {options.file}: {options.file.stat().st_size:,}")
