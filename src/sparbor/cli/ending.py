"""How every command ends: with an exit status, and if something is wrong with one line that says what."""

from __future__ import annotations

import argparse
import os
import sys

from sparbor import termination
from sparbor.cli.parser import EXIT_BAD_INPUT
from sparbor.cli.saying import warn
from sparbor.errors import SparborError

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143


def end_cleanly(program: str, options: argparse.Namespace) -> int:
    """Call ``options.run``; an error is one line on stderr. Returns the exit status."""
    try:
        with termination.raised():
            options.run(options)
        sys.stdout.flush()
    except SparborError as error:
        warn(f"{program}: error: {error}")
        return EXIT_BAD_INPUT
    except MemoryError as error:
        warn(f"{program}: error: there is not enough memory for this ({error or 'no details'})")
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # whoever read the output has gone; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, termination.Terminated)
        what = "terminated" if terminated else "interrupted"
        warn(f"{program}: {what}; {str(interrupt) or 'nothing was changed'}")
        return EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
    return 0
