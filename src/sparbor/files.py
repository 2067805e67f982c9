"""Writing a file at once: readers see the old one or the whole new one."""

import contextlib
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sparbor.errors import OutputError

_TOKEN_BYTES = 8


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


def discard(path: Path) -> None:
    """Remove the file, if it is there, and what writers of it that were killed have left beside it.

    Of a link, that and what was left beside its target. Nobody may be writing to it.
    """
    target = Path(os.path.realpath(path))
    for left in (path, *target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 2 * _TOKEN_BYTES}")):
        left.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, under a name that no other writer has, and put that in its place."""
    if os.path.lexists(path) and not path.is_file():
        raise OSError("it is there and is not a regular file")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}")
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
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in contents:
            if os.path.lexists(directory / name) and not (directory / name).is_file():
                raise OSError(f"{name} is there and is not a regular file")
        replace_files(directory, {name: partial(_write, content=content) for name, content in contents.items()})
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"files could not be written to {str(directory)!r} ({reason}): make room or choose another directory"
        ) from error
    finally:
        if made:
            with contextlib.suppress(OSError):
                directory.rmdir()  # only if nothing came to be in it


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def replace_files(directory: Path, writers: Mapping[str, Callable[[Path], object]]) -> None:
    """Let each writer make its file beside the others, and put all in their places at once; or, if one fails, none."""
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=directory) as unfinished:
        for name, write in writers.items():
            write(Path(unfinished) / name)
        _swap_in(Path(unfinished), directory, list(writers))


def _swap_in(new: Path, out: Path, names: list[str]) -> None:
    """Move the files of ``new`` to ``out``; if one cannot be moved, put back what the others replaced."""
    older = Path(tempfile.mkdtemp(dir=new))
    for name in names:
        if (out / name).exists():
            shutil.copy2(out / name, older / name)
    moved: list[str] = []
    try:
        for name in names:
            os.replace(new / name, out / name)
            moved.append(name)
    except BaseException:  # an interrupt, too, must not leave a mixture
        for name in moved:
            if (older / name).exists():
                os.replace(older / name, out / name)
            else:
                (out / name).unlink()
        raise
