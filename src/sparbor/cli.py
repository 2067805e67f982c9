"""The command line, ``sparbor`` or ``python -m sparbor``.

``inspect``, ``report``, ``run`` and ``time`` need what the engine needs, NumPy and safetensors, and nothing else;
``export`` needs no engine, and to ONNX the package onnx.
"""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sparbor import __version__, termination
from sparbor.any_encoding import spell_what_is_missing
from sparbor.errors import ArgumentError, SparborError
from sparbor.export.targets import EXPORTERS
from sparbor.files import write_file

if TYPE_CHECKING:
    import numpy as np


EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143
WARMUP_CALLS = 100
TIMED_CALLS = 1000
NPY_MAGIC = b"\x93NUMPY"


class Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """``sparbor COMMAND ...``; returns the exit status."""
    spell_what_is_missing()
    parser = Parser(prog="sparbor", description="Dendritic networks: trained sparse, run sparse.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    names = _add_commands(parser)
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] == "benchmark":  # it was one of these commands: who knows it should not have to search
        parser.error(
            "the benchmark is not in the package: run `python main.py` in a checkout of Sparbor, with the same options"
        )
    options = parser.parse_args(given)
    if options.command is None:
        parser.error(f"a COMMAND is missing: one of {', '.join(names)}")
    return end_cleanly("sparbor", options)


def _add_commands(parser: argparse.ArgumentParser) -> list[str]:
    """The commands with their options; their names."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, run: Callable[[argparse.Namespace], None], help_text: str, file: bool = True) -> Any:
        """A command, most often of a model's file; what comes back adds options to it."""
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.set_defaults(run=run)
        if file:
            command.add_argument("file", type=Path, metavar="FILE", help="a deployed model")
        return command.add_argument

    add("inspect", inspect, "Show a deployed model's layers: how they are stored and run, density and bytes.")
    option = add("report", write_report, "Make a page of a run's metrics.json and of the model beside it.", file=False)
    option("metrics", type=Path, metavar="METRICS", help="the metrics.json of a benchmark run")
    option("--out", type=Path, metavar="FILE", help="(default: report.html beside METRICS)")
    option = add("run", run_model, "Run a deployed model on an array.")
    option("--input", type=Path, required=True, help="array (batch, ...) in a .npy file: float32, or uint8")
    option("--output", type=Path, required=True, help=".npy file for the result")
    option("--threads", type=int, default=1, help="(default: 1)")
    option = add("export", export_model, "Make of a deployed model what runs without Sparbor.")
    option("--to", required=True, choices=sorted(EXPORTERS), help="what to make of it")
    option("--out", type=Path, required=True, help="the directory (c) or the file (onnx) to write")
    option("--name", help="of the exported model (default: FILE's, without its ending)")
    option("--force", action="store_true", help="write beside other files; replace an earlier export")
    option("--sparse", action="store_true", help="to onnx: with operators of Sparbor's, which ONNX Runtime can load")
    option = add("time", time_model, "Measure a deployed model's latency on this machine.")
    option("--batch", type=int, default=1, help="items in one call (default: 1)")
    option("--threads", type=int, default=1, help="(default: 1)")
    _add_onnx(commands)
    return list(commands.choices)


def _add_onnx(commands: Any) -> None:
    """The commands of ONNX files."""
    about = "Work on ONNX files."
    parser = commands.add_parser("onnx", help=about, description=about)
    parser.set_defaults(run=lambda _: parser.error("a COMMAND is missing: pack"))
    about = "Keep a model's sparse weights sparse in ONNX Runtime, by operators of Sparbor's."
    command = parser.add_subparsers(metavar="COMMAND", parser_class=Parser).add_parser(
        "pack", help=about, description=about
    )
    command.set_defaults(run=pack_onnx)
    command.add_argument("file", type=Path, metavar="FILE", help="an ONNX model")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    command.add_argument(
        "--weights", choices=("int8", "word16", "exact"), default="int8", help="how they are stored (default: int8)"
    )
    command.add_argument(
        "--min-sparsity",
        type=float,
        default=0.6,
        metavar="SHARE",
        help="least share of zeros of a layer (default: 0.6)",
    )
    command.add_argument("--inputs", type=Path, metavar="FILE", help="arrays to compare answers with, in a .npz file")
    command.add_argument("--force", action="store_true", help="replace a file that is there")


def inspect(options: argparse.Namespace) -> None:
    """A line for each layer, and one for the whole model."""
    from sparbor.engine.runtime import load

    runtime = load(options.file)
    layers = runtime.describe()
    width = max([len(layer.name) for layer in layers] + [len("layer")])
    heads = f"{'outputs':>8}  {'inputs':>8}  {'stored':<14}  {'runs':<6}  {'density':>8}  {'bytes':>11}  why"
    print(f"{'layer':<{width}}  {heads}")
    for layer in layers:
        print(
            f"{layer.name:<{width}}  {layer.outputs:>8}  {layer.fan_in:>8}  {layer.kind + ' ' + layer.weights:<14}"
            f"  {layer.runs:<6}  {layer.density:>8.2%}  {layer.bytes:>11,}  {layer.why}".rstrip()
        )
    if (byte_input := runtime.program.byte_input) is not None:
        print(f"takes {byte_input.in_words()}; byte b of a channel becomes (b / 255 - mean) / std")
    active = sum(layer.active for layer in layers)
    weights = sum(layer.outputs * layer.fan_in for layer in layers)
    print(
        f"{runtime.signature()}, {active:,} of {weights:,}"
        f" weights active, {options.file.stat().st_size:,} bytes stored, {runtime.isa} kernels on this machine"
    )


def write_report(options: argparse.Namespace) -> None:
    """Make the page, write it at once."""
    from sparbor.report.page import page_of

    out = options.out or options.metrics.with_name("report.html")
    write_file(out, page_of(options.metrics))
    print(f"Report: {out}")


def run_model(options: argparse.Namespace) -> None:
    """Read an array, run the model, write the result at once or not at all."""
    import numpy as np

    from sparbor.engine.runtime import load

    runtime = load(options.file, threads=options.threads)
    x, content = np.ascontiguousarray(_read_array(options.input)), io.BytesIO()
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        np.save(content, runtime(x))
    for doubt in doubts:
        print(f"sparbor: warning: {doubt.message}", file=sys.stderr)
    write_file(options.output, content.getvalue())
    if (byte_input := runtime.program.byte_input) is not None:
        raw = f"raw pixel values, normalised with {byte_input.settings()}"
        print(f"took {options.input} ({x.dtype}) as {raw if x.dtype == np.uint8 else 'normalised already'}")


def _read_array(path: Path) -> "np.ndarray[Any, Any]":
    import numpy as np

    try:
        with path.open("rb") as file:
            if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise ArgumentError(f"input={str(path)!r}: not a .npy file; write one with numpy.save")
            file.seek(0)
            array: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
            return array
    except ArgumentError:
        raise
    except Exception as error:  # NumPy parses the header as Python and lets each kind of fault through
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArgumentError(f"input={str(path)!r}: cannot be read as a .npy array ({reason})") from error


def time_model(options: argparse.Namespace) -> None:
    """Median and 95th percentile of many calls on random input; sizes other than the batch are 1."""
    import numpy as np

    from sparbor.engine.runtime import load
    from sparbor.timing import sample, summarize

    if options.batch < 1:
        raise ArgumentError(f"batch={options.batch}: must be at least 1")
    runtime = load(options.file, threads=options.threads)
    random, sizes = np.random.default_rng(0), {"batch": options.batch}
    shapes = [[sizes.get(each, 1) if isinstance(each, str) else each for each in port.shape] for port in runtime.inputs]
    given = [
        random.standard_normal(shape).astype(port.dtype) for shape, port in zip(shapes, runtime.inputs, strict=True)
    ]
    answer = runtime(*given)
    into = {} if isinstance(answer, dict) else {"out": answer}
    sample(lambda: runtime(*given, **into), WARMUP_CALLS)
    latency = summarize(sample(lambda: runtime(*given, **into), TIMED_CALLS))
    print(
        f"median {latency.median_us:.2f} µs, 95th percentile {latency.p95_us:.2f} µs"
        f" ({TIMED_CALLS} calls, batch {options.batch}, threads {options.threads}, {runtime.isa} kernels)"
    )


def export_model(options: argparse.Namespace) -> None:
    """Write the model for another target and say what was written."""
    from sparbor.program.model_file import load

    name = options.file.name.partition(".")[0] if options.name is None else options.name
    print(EXPORTERS[options.to](load(options.file), options.out, name, options.force, options.sparse))


def pack_onnx(options: argparse.Namespace) -> None:
    """Pack, compare, write, and say what became of each layer."""
    from sparbor.onnx import pack
    from sparbor.onnx.writing import check_out, write

    check_out(options.out, options.force, options.file)
    inputs = None if options.inputs is None else _read_arrays(options.inputs)
    packed = pack(options.file, options.weights, options.min_sparsity, inputs)
    write(packed.model, options.out)
    print(packed)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes; {options.file}: {options.file.stat().st_size:,}")


def _read_arrays(path: Path) -> "dict[str, np.ndarray[Any, Any]]":
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # as of `_read_array`; an array alone is no context
        raise ArgumentError(
            f"inputs={str(path)!r}: cannot be read as a .npz file; write one with numpy.savez"
        ) from error


def end_cleanly(program: str, options: argparse.Namespace) -> int:
    """Call ``options.run``; an error is one line on stderr. Returns the exit status."""
    try:
        with termination.raised():
            options.run(options)
        sys.stdout.flush()
    except SparborError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except MemoryError as error:
        print(f"{program}: error: there is not enough memory for this ({error or 'no details'})", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # whoever read the output has gone; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, termination.Terminated)
        what = "terminated" if terminated else "interrupted"
        print(f"{program}: {what}; {str(interrupt) or 'nothing was changed'}", file=sys.stderr)
        return EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
    return 0
