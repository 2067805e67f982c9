"""How far it has come: a line on the terminal, and words for whoever logs."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

logger = logging.getLogger("sparbor")


class Progress:
    """Tells of ``total`` parts as they are done; ``shown``: on standard error too, if that is a terminal."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total, self._done = total, 0
        self._shown = shown and sys.stderr.isatty()

    @contextmanager
    def line(self) -> Iterator["Progress"]:
        """Within, the line stands there."""
        try:
            yield self
        finally:
            self._show("")

    def done(self, parts: Sequence[str], said: str) -> None:
        """These parts are done, and something is to be said of them."""
        self._done += len(parts)
        logger.info("%d of %d: %s %s", self._done, self._total, ", ".join(parts), said)
        filled = 20 * self._done // max(1, self._total)
        self._show(f"sparsify [{'#' * filled:.<20}] {self._done} of {self._total} layers, {parts[-1]} {said}")

    def _show(self, text: str) -> None:
        if self._shown:
            print(
                f"\r\x1b[K{text[:79]}", end="", file=sys.stderr, flush=True
            )  # the line is overwritten by the next one
