"""The command line, ``sparbor`` or ``python -m sparbor``; ``main.py`` is its benchmark command by itself.

``inspect``, ``report``, ``run`` and ``time`` need what the engine needs, NumPy and safetensors, and nothing else;
``export`` needs no engine, and to ONNX the package onnx. ``benchmark`` needs what its extra brings.
"""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sparbor import __version__, termination
from sparbor.any_encoding import spell_what_is_missing
from sparbor.errors import ArgumentError, SparborError
from sparbor.export.targets import EXPORTERS
from sparbor.extras import brought_by
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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, help_text, add_options in COMMANDS:
        add_options(commands.add_parser(name, help=help_text, description=help_text))
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.error(f"a COMMAND is missing: one of {', '.join(name for name, _, _ in COMMANDS)}")
    return end_cleanly("sparbor", options)


def benchmark_main(arguments: Sequence[str] | None = None) -> int:
    """``python main.py ...``: the benchmark command by itself."""
    spell_what_is_missing()
    parser = Parser(prog="main.py", description=BENCHMARK_HELP)
    add_benchmark_options(parser)
    return end_cleanly("main.py", parser.parse_args(arguments))


BENCHMARK_HELP = "Train a dense baseline and a dendritic model side by side and measure both."


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """The options of the reference job."""
    parser.add_argument("--dataset", default="mnist", help="mnist (default) or cifar10")
    parser.add_argument("--epochs", type=int, default=6, help="epochs for each model (default: 6)")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--sparsity", type=float, help="share of weights to drop, in [0, 1) (default: 0.9)")
    limits.add_argument("--multiply-adds", type=float, help="budget of one image, in place of --sparsity")
    limits.add_argument("--kilobytes", type=float, help="budget of the stored layers, in place of --sparsity")
    limits.add_argument("--latency-us", type=float, help="budget of one image on this machine, in place of --sparsity")
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and batches (default: 0)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam, constant (default: 0.001)")
    parser.add_argument("--dendrites", type=int, default=0, help="generations of dendrites to grow (default: 0)")
    parser.add_argument(
        "--data-dir", type=Path, help="directory or archive with the data set (default: find or fetch it)"
    )
    parser.add_argument("--out", type=Path, default=Path("PAI"), help="directory for the results (default: PAI)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out that did not end")
    parser.set_defaults(run=run_benchmark)


def add_inspect_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``sparbor inspect``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a deployed model")
    parser.set_defaults(run=inspect)


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``sparbor report``."""
    parser.add_argument("metrics", type=Path, metavar="METRICS", help="the metrics.json of a benchmark run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: report.html beside METRICS)")
    parser.set_defaults(run=write_report)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``sparbor run``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a deployed model")
    parser.add_argument(
        "--input", type=Path, required=True, help="array (batch, ...) in a .npy file: float32, or uint8"
    )
    parser.add_argument("--output", type=Path, required=True, help=".npy file for the result")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    parser.set_defaults(run=run_model)


def add_time_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``sparbor time``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a deployed model")
    parser.add_argument("--batch", type=int, default=1, help="items in one call (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    parser.set_defaults(run=time_model)


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``sparbor export``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a deployed model")
    parser.add_argument("--to", required=True, choices=sorted(EXPORTERS), help="what to make of it")
    parser.add_argument("--out", type=Path, required=True, help="the directory (c) or the file (onnx) to write")
    parser.add_argument("--name", help="of the exported model (default: FILE's, without its ending)")
    parser.add_argument("--force", action="store_true", help="write beside other files; replace an earlier export")
    parser.set_defaults(run=export_model)


COMMANDS = (
    ("benchmark", BENCHMARK_HELP, add_benchmark_options),
    ("inspect", "Show a deployed model's layers: density, precision and bytes.", add_inspect_options),
    ("report", "Make a page of a run's metrics.json and of the model beside it.", add_report_options),
    ("run", "Run a deployed model on an array.", add_run_options),
    ("export", "Make of a deployed model what runs without Sparbor.", add_export_options),
    ("time", "Measure a deployed model's latency on this machine.", add_time_options),
)


def run_benchmark(options: argparse.Namespace) -> None:
    """Run the benchmark, show its progress and its table, and leave its results in ``options.out``."""
    with brought_by("benchmark", "the benchmark"):
        # Here, not above: --help and wrong options should not wait for torch.
        from rich.console import Console

        from sparbor.benchmark import experiment, report
        from sparbor.benchmark.job import Job
        from sparbor.benchmark.progress import Bars
        from sparbor.native import choose_kernel_set
        from sparbor.recipe.budget import UNITS, Budget

    limits = {unit: getattr(options, unit) for unit in UNITS if getattr(options, unit) is not None}
    job = Job(
        dataset=options.dataset,
        epochs=options.epochs,
        sparsity=options.sparsity,
        seed=options.seed,
        data_dir=options.data_dir,
        device=options.device,
        learning_rate=options.learning_rate,
        budget=Budget(**limits) if limits else None,
        dendrites=options.dendrites,
    )
    choose_kernel_set()  # the model is deployed in the end: a missing engine should not wait for the training
    checkpoint = options.out / report.CHECKPOINT
    if options.resume and not checkpoint.exists():
        raise ArgumentError(
            f"resume: there is no {checkpoint}; leave out --resume to start anew, or name another --out"
        )
    report.prepare(options.out)
    console = Console()
    kept: list[dict[str, Any]] = []

    def keep(metrics: dict[str, Any]) -> None:
        report.publish_partial(options.out, metrics)
        kept[:] = metrics["dendritic"]["epochs"]

    try:
        with Bars(console) as bars:
            metrics, runtime = experiment.run(job, bars, keep, checkpoint, resume=options.resume)
        report.publish(options.out, metrics, runtime)
    except KeyboardInterrupt as interrupt:
        saved = (
            f"finished epochs are in {options.out / report.PARTIAL}, --resume goes on after them"
            if kept
            else "no epoch was finished and nothing has been saved yet, start the run anew"
        )
        raise type(interrupt)(f"{saved}; older results are unchanged") from interrupt
    console.print(report.table(metrics))
    names = (report.METRICS, report.REPORT, report.PLOT, report.MODEL)
    console.print(f"Results: {', '.join(str(options.out / name) for name in names)}")


def inspect(options: argparse.Namespace) -> None:
    """A line for each layer, and one for the whole model."""
    from sparbor.engine.runtime import load

    runtime = load(options.file)
    layers = runtime.describe()
    width = max([len(layer.name) for layer in layers] + [len("layer")])
    print(f"{'layer':<{width}}  {'outputs':>8}  {'inputs':>8}  {'kind':<6}  {'density':>8}  precision  {'bytes':>11}")
    for layer in layers:
        print(
            f"{layer.name:<{width}}  {layer.outputs:>8}  {layer.fan_in:>8}  {layer.kind:<6}  {layer.density:>8.2%}"
            f"  {layer.precision:<9}  {layer.bytes:>11,}"
        )
    if (byte_input := runtime.program.byte_input) is not None:
        print(f"takes {byte_input.in_words()}; byte b of a channel becomes (b / 255 - mean) / std")
    active = sum(layer.active for layer in layers)
    weights = sum(layer.outputs * layer.fan_in for layer in layers)
    print(
        f"input {('batch', *runtime.input_shape)}, output {('batch', *runtime.output_shape)}, {active:,} of {weights:,}"
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
        taken = (
            f"raw pixel values, normalised with {byte_input.settings()}"
            if x.dtype == np.uint8
            else "normalised already"
        )
        print(f"took {options.input} ({x.dtype}) as {taken}")


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
    """Median and 95th percentile of many calls on random input."""
    import numpy as np

    from sparbor.engine.runtime import load
    from sparbor.timing import sample, summarize

    if options.batch < 1:
        raise ArgumentError(f"batch={options.batch}: must be at least 1")
    runtime = load(options.file, threads=options.threads)
    x = np.random.default_rng(0).standard_normal((options.batch, *runtime.input_shape)).astype(np.float32)
    result = np.empty((options.batch, *runtime.output_shape), np.float32)
    sample(lambda: runtime(x, out=result), WARMUP_CALLS)
    latency = summarize(sample(lambda: runtime(x, out=result), TIMED_CALLS))
    print(
        f"median {latency.median_us:.2f} µs, 95th percentile {latency.p95_us:.2f} µs"
        f" ({TIMED_CALLS} calls, batch {options.batch}, threads {options.threads}, {runtime.isa} kernels)"
    )


def export_model(options: argparse.Namespace) -> None:
    """Write the model for another target and say what was written."""
    from sparbor.program.model_file import load

    name = options.file.name.partition(".")[0] if options.name is None else options.name
    print(EXPORTERS[options.to](load(options.file), options.out, name, options.force))


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


if __name__ == "__main__":
    sys.exit(main())
