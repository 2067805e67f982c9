"""Processes that train one model together over gloo and the loopback interface, and what became of each."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PRELOADED = [
    "torch",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint.state_dict",
    "sparbor.train.perforator",
]


@dataclass(frozen=True)
class Outcome:
    """What a rank's work gave, or the error that ended it; both are absent if the process died."""

    result: Any = None
    error: str | None = None
    message: str = ""


def on_ranks(
    world_size: int,
    work: Callable[..., Any],
    folder: Path,
    *arguments: Any,
    timeout: float = 20,
    limit: float = 60,
    stopping: Sequence[int] = (),
) -> list[Outcome]:
    """Call ``work(rank, *arguments)`` in each of so many processes; those alive after ``limit`` seconds fail the test.

    A rank waits ``timeout`` seconds for the others. Those that are ``stopping`` for good are not waited for.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # torch is imported once, not by every rank of every test
    folder.mkdir(exist_ok=True)
    ranks = [
        context.Process(target=_rank, args=(rank, world_size, work, folder, timeout, arguments), daemon=True)
        for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    deadline = time.monotonic() + limit
    for rank, process in sorted(enumerate(ranks), key=lambda each: each[0] in stopping):
        process.join(0 if rank in stopping else max(0.0, deadline - time.monotonic()))
    hanging = [rank for rank, process in enumerate(ranks) if process.exitcode is None]
    for rank in hanging:
        ranks[rank].kill()
        ranks[rank].join()
    assert set(hanging) <= set(stopping), f"ranks {hanging} hang"
    return [_outcome(folder / f"{rank}.pt") for rank in range(world_size)]


def results(outcomes: list[Outcome]) -> list[Any]:
    """What all ranks' work gave; fails if one of them raised."""
    assert [outcome.message for outcome in outcomes if outcome.error] == []
    return [outcome.result for outcome in outcomes]


def stop_for_good() -> None:
    """This process stays but does nothing more, as one on a machine that hangs; its siblings are unaffected."""
    os.kill(os.getpid(), signal.SIGSTOP)


def _rank(rank: int, size: int, work: Callable[..., Any], folder: Path, timeout: float, arguments: Any) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/store", rank=rank, world_size=size, timeout=timedelta(seconds=timeout)
    )
    try:
        outcome = Outcome(work(rank, *arguments))
    except Exception as error:
        outcome = Outcome(error=type(error).__name__, message=str(error))
    torch.save(outcome, folder / f"{rank}.pt")
    with contextlib.suppress(RuntimeError):  # the others may be gone
        dist.destroy_process_group()


def _outcome(path: Path) -> Outcome:
    if not path.exists():
        return Outcome()
    outcome = torch.load(path, weights_only=False)
    assert isinstance(outcome, Outcome)
    return outcome
