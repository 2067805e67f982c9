"""Writing a file at once: readers see the old one or the whole new one."""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from sparbor.errors import OutputError


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Put ``content`` at ``path``, where a link is followed; what was there stays until the new file is complete.

    Raises:
        OutputError: it cannot be written, or there is something else than a file, such as a directory or a device.
    """
    try:
        _replace(Path(os.path.realpath(path)), content)
    except (OSError, ValueError) as error:  # a ValueError is a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{os.fspath(path)!r} could not be written ({reason}): make room or choose another path"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, under a name that no other writer has, and put that in its place."""
    if os.path.lexists(path) and not path.is_file():
        raise OSError("it is there and is not a regular file")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(unfinished, "xb") as file:
            file.write(content)
        os.replace(unfinished, path)
    except BaseException:  # an interrupt, too, must leave nothing behind
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a directory, made if need be; only when all of them are complete they take their places.

    Raises:
        OutputError: one cannot be written; what was there then stays.
    """
    made = not directory.exists()
    unfinished = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            unfinished[name] = directory / f".{name}.{secrets.token_hex(8)}"
            with open(unfinished[name], "xb") as file:
                file.write(content)
        for name in contents:
            if os.path.lexists(directory / name) and not (directory / name).is_file():
                raise OSError(f"{name} is there and is not a regular file")
        for name, path in unfinished.items():
            os.replace(path, directory / name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"files could not be written to {str(directory)!r} ({reason}): make room or choose another directory"
        ) from error
    finally:  # an interrupt, too, must leave nothing behind
        for path in unfinished.values():
            with contextlib.suppress(OSError):
                path.unlink()
        if made:
            with contextlib.suppress(OSError):
                directory.rmdir()  # only if nothing came to be in it
