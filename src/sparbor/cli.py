"""The command line, ``sparbor`` or ``python -m sparbor.cli``: ``sparbor benchmark`` (which ``main.py`` calls)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sparbor.errors import SparborError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """``sparbor COMMAND ...``; returns the exit status."""
    parser = Parser(prog="sparbor", description="Dendritic networks: trained sparse, run sparse.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    add_benchmark_options(commands.add_parser("benchmark", help=BENCHMARK_HELP, description=BENCHMARK_HELP))
    return _end_cleanly("sparbor", parser.parse_args(arguments))


def benchmark_main(arguments: Sequence[str] | None = None) -> int:
    """``python main.py ...``: the benchmark command by itself."""
    parser = Parser(prog="main.py", description=BENCHMARK_HELP)
    add_benchmark_options(parser)
    return _end_cleanly("main.py", parser.parse_args(arguments))


BENCHMARK_HELP = "Train a dense baseline and a dendritic model side by side and measure both."


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """The options of the mission's benchmark."""
    parser.add_argument("--dataset", default="mnist", help="mnist (default)")
    parser.add_argument("--epochs", type=int, default=6, help="epochs for each model (default: 6)")
    parser.add_argument(
        "--sparsity", type=float, default=0.9, help="share of weights to drop, in [0, 1) (default: 0.9)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and batches (default: 0)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam, constant (default: 0.001)")
    parser.add_argument(
        "--data-dir", type=Path, help="directory with the data set's files (default: find or fetch them)"
    )
    parser.add_argument("--out", type=Path, default=Path("PAI"), help="directory for the results (default: PAI)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.set_defaults(run=run_benchmark)


def run_benchmark(options: argparse.Namespace) -> None:
    """Run the benchmark, show its progress and its table, and leave its results in ``options.out``."""
    # Here, not above: --help and wrong options should not wait for torch.
    from rich.console import Console

    from sparbor import benchmark, report
    from sparbor.job import Job
    from sparbor.progress import Bars

    job = Job(
        dataset=options.dataset,
        epochs=options.epochs,
        sparsity=options.sparsity,
        seed=options.seed,
        data_dir=options.data_dir,
        device=options.device,
        learning_rate=options.learning_rate,
    )
    report.prepare(options.out)
    console = Console()
    try:
        with Bars(console) as bars:
            metrics, runtime = benchmark.run(job, bars, lambda metrics: report.publish_partial(options.out, metrics))
    except KeyboardInterrupt as interrupt:
        partial = options.out / report.PARTIAL
        raise KeyboardInterrupt(f"finished epochs are in {partial}, older results are unchanged") from interrupt
    report.publish(options.out, metrics, runtime)
    console.print(report.table(metrics))
    console.print(f"Results: {options.out / report.METRICS}, {options.out / report.PLOT}, {options.out / report.MODEL}")


def _end_cleanly(program: str, options: argparse.Namespace) -> int:
    try:
        options.run(options)
    except SparborError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interrupt:
        print(f"{program}: interrupted; {str(interrupt) or 'nothing was changed'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
