"""SIGTERM ends what Ctrl-C ends, and by the same clean-ups: children are stopped, temporary files removed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def raised() -> Iterator[None]:
    """SIGTERM raises `Terminated`, unless the program that calls this one handles or ignores it."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
