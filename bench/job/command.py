"""The command line of the reference job: ``python main.py --dataset mnist --epochs 6``."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparbor.any_encoding import spell_what_is_missing
from sparbor.cli.ending import end_cleanly
from sparbor.cli.parser import Parser
from sparbor.errors import ArgumentError
from sparbor.extras import brought_by
from sparbor.files import gone_if_empty

DESCRIPTION = "Train a dense baseline and a dendritic model side by side and measure both."


def main(arguments: Sequence[str] | None = None) -> int:
    """``python main.py ...``; returns the exit status."""
    spell_what_is_missing()
    parser = Parser(prog="main.py", description=DESCRIPTION)
    add_options(parser)
    return end_cleanly("main.py", parser.parse_args(arguments))


def add_options(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--weights", default="word16", help="of the stored model: word16 (default) or int8; both are measured"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out that did not end")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the benchmark, show its progress and its table, and leave its results in ``options.out``."""
    with brought_by("benchmark", "the benchmark"):
        # Here, not above: --help and wrong options should not wait for torch.
        from rich.console import Console

        from bench.job import experiment, report
        from bench.job.job import Job
        from bench.job.progress import Bars
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
        weights=options.weights,
    )
    choose_kernel_set()  # the model is deployed in the end: a missing engine should not wait for the training
    checkpoint = options.out / report.CHECKPOINT
    if options.resume and not os.path.exists(checkpoint):
        raise ArgumentError(
            f"resume: there is no {checkpoint}; leave out --resume to start anew, or name another --out"
        )
    console = Console()
    kept: list[dict[str, Any]] = []

    def keep(metrics: dict[str, Any]) -> None:
        report.publish_partial(options.out, metrics)
        kept[:] = metrics["dendritic"]["epochs"]

    try:
        with gone_if_empty(options.out):
            report.prepare(options.out)
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
