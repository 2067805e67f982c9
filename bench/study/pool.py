"""Trains cells of the accuracy study side by side, each in a process with one thread."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from pathlib import Path

from bench.study.rows import Cell, Row
from bench.study.run import train_cell

# For the processes that train: glibc keeps what a step frees for the next one. Otherwise the system hands out, clears
# and takes back a hundred megabytes a step, which is a sixth of a step of the CNN.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}


def absolute_path(text: str) -> Path:
    """A path of the command line: the processes that train may work in another directory."""
    return Path(text).absolute()


def train_all(
    cells: Sequence[Cell], data_dir: Path | None, scratch: Path, processes: int
) -> Iterator[tuple[Cell, Row | BaseException]]:
    """Rows as they come, or why there is none; cells are begun in the order they have."""
    os.environ.update(KEEP_MEMORY)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        waiting = {pool.submit(train_cell, cell, data_dir, scratch): cell for cell in cells}
        try:
            for finished in as_completed(waiting):
                error = finished.exception()
                if isinstance(
                    error, BrokenExecutor
                ):  # a process is gone, killed for its memory, say: no cell can go on
                    raise error
                yield waiting[finished], error if isinstance(error, Exception) else finished.result()
        finally:
            pool.shutdown(cancel_futures=True)
