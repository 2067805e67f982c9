"""Tracing without what PyTorch says of it: an error is raised as well, and its other warnings are of itself."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """Within, this thread's warnings, PyTorch's log messages and what it prints as errors are dropped.

    PyTorch logs a failure at length, and prints the graph that it had come to, before it raises it.
    """
    thread = threading.get_ident()

    def is_heard(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.name.partition(".")[0] != "torch"

    handlers = list(_handlers())
    for handler in handlers:
        handler.addFilter(is_heard)
    stream = _OfOtherThreads(sys.stderr, thread)
    try:
        with warnings.catch_warnings(), redirect_stderr(stream):
            warnings.simplefilter("ignore")
            yield
    finally:
        stream.thread = None  # another thread that traces may have taken it for the real one, and put it back
        for handler in handlers:
            handler.removeFilter(is_heard)


def _handlers() -> set[logging.Handler]:
    """Those that PyTorch's messages come to; it has many loggers, and makes more of them while it traces."""
    loggers = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == "torch"
    ]
    handlers = {handler for logger in (logging.root, *loggers) for handler in logger.handlers}
    return handlers if logging.lastResort is None else handlers | {logging.lastResort}


class _OfOtherThreads:
    """A stream without what one thread writes to it."""

    def __init__(self, stream: Any, thread: int) -> None:
        self._stream = stream
        self.thread: int | None = thread

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self.thread else int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
