"""A line on the terminal that shows how far something long has come.

Who begins something long opens the line. Whatever happens within tells of its steps, and does not know whether
there is a line.
"""

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sparbor.printable import printable

PATIENCE = 2.0  # seconds: what is done sooner needs no line
_BAR = 20
_CLEARED = "\r\x1b[K"


class _Line:
    """Drawn from ``PATIENCE`` on, over and over at the same place."""

    def __init__(self, title: str) -> None:
        self._title, self._said = title, "begins"
        self._drawn, self._lock = False, threading.Lock()
        self._patience = threading.Timer(PATIENCE, self._begin)
        self._patience.daemon = True
        self._patience.start()

    def says(self, said: str) -> None:
        """What is said from now on."""
        with self._lock:
            self._said = said
            if self._drawn:
                self._draw()

    def end(self) -> None:
        """Wipe it off."""
        self._patience.cancel()
        with self._lock:
            if self._drawn:
                _write(_CLEARED)
            self._drawn = False

    def _begin(self) -> None:
        with self._lock:
            if not self._patience.finished.is_set():  # it has ended while it waited for the lock
                self._drawn = True
                self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        _write(_CLEARED + printable(f"{self._title} {self._said}")[:width])


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


_line: ContextVar[_Line | None] = ContextVar("line", default=None)


@contextmanager
def shown(title: str, wanted: bool = True) -> Iterator[None]:
    """Within, steps stand in a line of standard error, if that is a terminal and they take over ``PATIENCE`` seconds.

    Within the line of something larger its steps stand in that one.
    """
    if wanted and (_line.get() is not None or not sys.stderr.isatty()):
        yield
        return
    line = _Line(title) if wanted else None
    before = _line.set(line)
    try:
        yield
    finally:
        _line.reset(before)
        if line is not None:
            line.end()


def tell(step: str, done: int | None = None, total: int | None = None) -> None:
    """What is being done now, or what has been done, as the first ``done`` of ``total`` parts."""
    line = _line.get()
    if line is None:
        return
    if done is None or not total:
        line.says(step)
    else:
        line.says(f"[{'#' * (_BAR * done // total):.<{_BAR}}] {done} of {total}: {step}")
