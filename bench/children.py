"""Processes that measure or fetch something, and do not outlive the one that started them."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sparbor.termination import in_main_thread


def run_child(
    command: Sequence[str], timeout: float | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """What `subprocess.run` gives, and no child stays behind if a signal comes while it starts.

    `environment` is what the child gets in place of this process's variables.
    """
    process = None
    try:
        with deferred():
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment,
            )
        output, errors = process.communicate(timeout=timeout)
    finally:
        if process is not None:
            process.kill()  # of one that has ended nothing is left to kill
            process.wait()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@contextmanager
def deferred() -> Iterator[None]:
    """SIGTERM and Ctrl-C, where they raise, do so at the end."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = [number for number, handler in handlers.items() if callable(handler)] if in_main_thread() else []
    came: list[int] = []
    for number in handled:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, handlers[number])
        for each in came:
            signal.raise_signal(each)
