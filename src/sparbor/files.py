"""Writing a file at once: readers see the old one or the whole new one."""

import contextlib
import os
import tempfile
from pathlib import Path

from sparbor.errors import OutputError


def write_file(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, where a link is followed; what was there stays until the new file is complete.

    Raises:
        OutputError: it cannot be written, or there is something else than a file, such as a directory or a device.
    """
    target = Path(os.path.realpath(path))
    if os.fspath(path) in ("", ".") or (os.path.lexists(target) and not target.is_file()):
        raise OutputError(f"{os.fspath(path)!r} is not a file: choose a path to write a file to")
    unfinished = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            unfinished = Path(file.name)
            file.write(content)
        os.chmod(unfinished, _usual_mode())
        os.replace(unfinished, target)
        unfinished = None
    except OSError as error:
        raise OutputError(
            f"{os.fspath(path)!r} could not be written ({error.strerror}): make room or choose another path"
        ) from error
    finally:
        if unfinished is not None:
            with contextlib.suppress(OSError):
                unfinished.unlink()


def _usual_mode() -> int:
    """What ``open`` would have given the file; a temporary one is readable by its owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
