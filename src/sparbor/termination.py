"""SIGTERM ends what Ctrl-C ends, and by the same clean-ups: children are stopped, temporary files removed."""

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def raised() -> Iterator[None]:
    """SIGTERM raises `Terminated`, unless the program that calls this one handles or ignores it."""
    ours = _in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
    handled = [number for number, handler in handlers.items() if callable(handler)] if _in_main_thread() else []
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


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _raise(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
