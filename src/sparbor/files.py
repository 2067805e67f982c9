"""Writing files at once: readers see the old ones or the whole new ones."""

import contextlib
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from sparbor.errors import OutputError, SparborError

_TOKEN_BYTES = 8


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Put ``content`` at ``path``, where a link is followed; what was there stays until the new file is complete.

    Raises:
        OutputError: it cannot be written, or there is something else than a file, such as a directory or a device.
    """
    try:
        _replace(Path(os.path.realpath(path)), content)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{os.fspath(path)!r} could not be written ({reason_of(error)}): make room or choose another path"
        ) from error


def check_free(out: Path, force: bool, *read: Path) -> None:
    """Refuse what cannot be a new file, or would replace a file unasked or one that is ``read``.

    Raises:
        OutputError: it is a directory, or there already and not to be replaced; its folder is not there.
    """
    check_apart(out, *read)
    if os.path.isdir(out):
        raise OutputError(f"out={str(out)!r}: it is a directory; name a file")
    if os.path.lexists(out) and not force:
        raise OutputError(f"out={str(out)!r}: it is there already; pass --force to replace it, or name another file")
    if not os.path.isdir(out.parent):
        raise OutputError(f"out={str(out)!r}: there is no folder {str(out.parent)!r}; make it, or name another file")


def check_apart(out: Path, *read: Path) -> None:
    """Refuse to write where something is read.

    Raises:
        OutputError: ``out`` is one of the paths ``read``, by whichever name.
    """
    if any(os.path.exists(out) and os.path.exists(path) and os.path.samefile(out, path) for path in read):
        raise OutputError(f"out={str(out)!r}: that is what is read; name another place for what is written")


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
    with _made(directory):
        _put(directory, {name: partial(Path.write_bytes, data=content) for name, content in contents.items()})


def fill_directory(directory: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write any files into an empty folder; when it has, they take their places in the directory at once.

    Files of other names that are there stay. It may write folders, too.

    Raises:
        OutputError: one cannot be written; what was there then stays.
    """
    with _made(directory), tempfile.TemporaryDirectory(prefix=".unfinished-", dir=directory) as folder:
        fill(Path(folder))
        written = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        _put(directory, {path.relative_to(folder).as_posix(): partial(os.replace, path) for path in written})


@contextlib.contextmanager
def gone_if_empty(directory: Path) -> Iterator[None]:
    """A directory that is made within goes again, with those made around it, if nothing is in it in the end."""
    absent = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    try:
        yield
    finally:
        for each in absent:
            with contextlib.suppress(OSError, ValueError):
                each.rmdir()


@contextlib.contextmanager
def _made(directory: Path) -> Iterator[None]:
    """The directory is there, and goes again if nothing came to be in it."""
    try:
        with gone_if_empty(directory):
            directory.mkdir(parents=True, exist_ok=True)
            yield
    except (OSError, ValueError) as error:
        if isinstance(error, SparborError):
            raise
        raise OutputError(
            f"files could not be written to {str(directory)!r} ({reason_of(error)}): make room or choose another"
            " directory"
        ) from error


def _put(directory: Path, writers: Mapping[str, Callable[[Path], object]]) -> None:
    for name in writers:
        if os.path.lexists(directory / name) and not (directory / name).is_file():
            raise OSError(f"{name} is there and is not a regular file")
    replace_files(directory, writers)


def reason_of(error: Exception) -> object:
    """What the system says of a path; a ValueError is a NUL in it."""
    return getattr(error, "strerror", None) or error


def replace_files(directory: Path, writers: Mapping[str, Callable[[Path], object]]) -> None:
    """Let each writer make its file beside the others, and put all in their places at once; or, if one fails, none."""
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=directory) as unfinished:
        new, older = Path(unfinished, "new"), Path(unfinished, "older")
        new.mkdir()
        older.mkdir()
        for name, write in writers.items():
            for place in (directory, new, older):
                (place / name).parent.mkdir(parents=True, exist_ok=True)
            write(new / name)
        for name in writers:
            if (directory / name).exists():
                shutil.copy2(directory / name, older / name)
        moved: list[str] = []
        try:
            for name in writers:
                os.replace(new / name, directory / name)
                moved.append(name)
        except BaseException:  # an interrupt, too, must not leave a mixture
            for name in moved:
                if (older / name).exists():
                    os.replace(older / name, directory / name)
                else:
                    (directory / name).unlink()
            raise
