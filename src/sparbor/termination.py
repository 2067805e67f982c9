"""SIGTERM ends what Ctrl-C ends, and by the same clean-ups: temporary files are removed, say."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def in_main_thread() -> bool:
    """Whether signals can be handled here."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def raised() -> Iterator[None]:
    """SIGTERM raises `Terminated`, unless the program that calls this one handles or ignores it."""
    ours = in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
