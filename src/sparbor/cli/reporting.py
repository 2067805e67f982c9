"""``sparbor report``: a page of a benchmark run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sparbor.cli.parser import add_command
from sparbor.cli.saying import say
from sparbor.files import check_free, write_file


def add(commands: Any) -> None:
    """The command."""
    about = "Make a page of a run's metrics.json and of the model beside it."
    command = add_command(commands, "report", write_report, about)
    command.add_argument("metrics", type=Path, metavar="METRICS", help="the metrics.json of a benchmark run")
    command.add_argument("--out", type=Path, metavar="FILE", help="(default: report.html beside METRICS)")


def write_report(options: argparse.Namespace) -> None:
    """Make the page, write it at once."""
    from sparbor.report.page import MODEL, page_of

    folder = options.metrics.parent
    out = options.out or folder / "report.html"
    check_free(out, True, options.metrics, folder / MODEL)
    write_file(out, page_of(options.metrics))
    say(f"Report: {out}")
