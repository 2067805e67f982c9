"""How many layers are done: for a line on the terminal, and for whoever logs."""

import logging
from collections.abc import Sequence

from sparbor.progress import tell

logger = logging.getLogger("sparbor")


class Progress:
    """Tells of ``total`` layers as they are done."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    def done(self, layers: Sequence[str], said: str) -> None:
        """These layers are done, and something is to be said of them."""
        self._done += len(layers)
        logger.info("%d of %d: %s %s", self._done, self._total, ", ".join(layers), said)
        tell(f"{layers[-1]}, {said}", self._done, self._total)
