"""What commands say, on standard output and standard error: nothing that a terminal could take for a command."""

from __future__ import annotations

import sys

from sparbor.printable import printable, printable_lines


def say(what: object) -> None:
    """A result, of one line or of several; the names of a file's layers may be in it."""
    print(printable_lines(str(what)))


def warn(what: str) -> None:
    """What is wrong, or in doubt: one line on standard error."""
    print(printable(what), file=sys.stderr)
