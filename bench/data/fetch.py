"""Files that arrive whole and verified, or not at all.

A download grows in a partial file beside its destination and takes the final name only once its content is verified.
What a broken download leaves is resumed by the next one, from whichever server. There is no retry here: the caller
has other servers to ask, and each picks up where the last one stopped.
"""

import http.client
import logging
import os
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from bench.data.errors import DataError
from sparbor.errors import OutputError
from sparbor.files import write_file

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
RANGE_NOT_SATISFIABLE = 416

FindFault = Callable[[Path], str | None]
"""Says what is wrong with a file's content, or None when it is the wanted one."""


class DownloadError(DataError):
    """One server's failure, which another server may make good; a plain DataError is this machine's own."""


@dataclass(frozen=True)
class Limits:
    """How long a server may take, in seconds."""

    answer: float = 8.0
    """Name lookup, connection, TLS and response headers together."""
    stall: float = 15.0
    """Without a single byte of the body."""
    total: float = 300.0
    """One file; what has arrived by then is kept for the next attempt."""


DEFAULT_LIMITS = Limits()


def fetch(url: str, path: Path, find_fault: FindFault, limits: Limits = DEFAULT_LIMITS) -> None:
    """Bring the content of `url` to `path`, verified by `find_fault`; a sound file already there is kept.

    Processes that want the same file take turns, and the later ones find it there.

    Raises:
        DownloadError: the server is unreachable, slow, breaks off, or sends something else.
        DataError: the file cannot be written here; no other server would help.
    """
    with _claim_part(path, patience=limits.total) as part:
        if path.exists() and find_fault(path) is None:
            return
        _complete(url, part, find_fault, limits)
        try:
            os.replace(part, path)
        except OSError as error:
            raise _unwritable(path, error) from error


def store(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step: readers see the old file or the whole new one.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error
    except OutputError as error:
        raise DataError(f"{error}, or name a directory that holds the data (--data-dir)") from error


def _complete(url: str, part: Path, find_fault: FindFault, limits: Limits) -> None:
    """Make `part` the whole, verified content of `url`, starting over once if what was there does not fit."""
    resumed = _size(part) > 0
    if resumed and find_fault(part) is None:
        return  # an earlier process got all of it and died before the renaming
    _receive(url, part, limits)
    fault = find_fault(part)
    if fault and resumed:
        logger.info("%s does not continue %s (%s); starting over", url, part, fault)
        part.unlink()
        _receive(url, part, limits)
        fault = find_fault(part)
    if fault:
        part.unlink()
        raise DownloadError(f"{url}: wrong content: {fault}")


def _receive(url: str, part: Path, limits: Limits) -> None:
    """Append the rest of `url` to `part`, or write it anew where the server cannot resume."""
    deadline = time.monotonic() + limits.total
    response, start = _open_at(url, _size(part), limits)
    logger.info("fetching %s from byte %d", url, start)
    with response:
        try:
            with part.open("ab" if start else "wb") as file:
                for chunk in _body(url, response, start, limits, deadline):
                    file.write(chunk)
        except OSError as error:
            part.unlink(missing_ok=True)  # a full disk needs the room more than the next run needs the part
            raise _unwritable(part, error) from error


def _body(url: str, response: http.client.HTTPResponse, start: int, limits: Limits, deadline: float) -> Iterator[bytes]:
    """Yield the body as it arrives; every way in which it can end too early is a DownloadError."""
    received = start
    expected = None if response.length is None else start + response.length
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)  # read() would wait for all of a chunk that comes byte by byte
        except TimeoutError as error:
            raise DownloadError(f"{url}: stalled for {limits.stall:g} s after {received} bytes") from error
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{url}: broke off after {received} bytes ({error})") from error
        if not chunk:
            break
        received += len(chunk)
        yield chunk
        if time.monotonic() > deadline:
            raise DownloadError(f"{url}: too slow: {received} bytes after {limits.total:g} s")
    if expected is not None and received < expected:
        raise DownloadError(f"{url}: broke off after {received} of {expected} bytes")


def _open_at(url: str, offset: int, limits: Limits) -> tuple[http.client.HTTPResponse, int]:
    """Ask for `url` from byte `offset` on; also return the byte the answer starts at, `offset` or 0."""
    try:
        response = _open(url, offset, limits)
    except urllib.error.HTTPError as error:
        error.close()
        if offset and error.code == RANGE_NOT_SATISFIABLE:  # the part is longer than the file
            return _open_at(url, 0, limits)
        raise DownloadError(f"{url}: HTTP {error.code} {error.reason}") from error
    except (TimeoutError, FutureTimeoutError) as error:
        raise DownloadError(f"{url}: no answer within {limits.answer:g} s") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{url}: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: {error!r}") from error
    resumes = response.status == http.client.PARTIAL_CONTENT  # from another byte? the verification will tell
    return response, offset if resumes else 0


def _open(url: str, offset: int, limits: Limits) -> http.client.HTTPResponse:
    """Open `url` under one limit for all that comes before the body.

    urllib's own time-out leaves the name lookup out and begins again for each address of the host: behind a firewall
    that drops packets, a host with sixteen addresses takes minutes. An abandoned thread ends on its own.
    """
    headers = {"User-Agent": "sparbor"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)
    answer: Future[http.client.HTTPResponse] = Future()

    def ask() -> None:
        try:
            opener = urllib.request.build_opener()  # urlopen's own keeps the proxies of the first call
            answer.set_result(cast(http.client.HTTPResponse, opener.open(request, timeout=limits.stall)))
        except Exception as error:  # raised again below, in the thread that waits for it
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(timeout=limits.answer)


@contextmanager
def _claim_part(path: Path, patience: float) -> Iterator[Path]:
    """The partial file to write, ours alone: the one that later runs resume or, where the directory's lock cannot
    be had, a private one that goes when we do."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock_file = (path.parent / ".lock").open("ab")
    except OSError as error:
        raise _unwritable(path, error) from error
    with lock_file:
        if _lock(lock_file, patience):
            yield path.with_name(f"{path.name}.part")
            return
        part = _private_part(path)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


def _lock(file: IO[bytes], patience: float) -> bool:
    """Lock `file` until it is closed or the process dies; False if others hold it too long or locks do not work."""
    if sys.platform == "win32":
        return False
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        except OSError as error:
            logger.info("this file system has no locks (%s); downloading to a private file", error)
            return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _private_part(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")


def _unwritable(path: Path, error: OSError) -> DataError:
    at = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    return DataError(
        f"cannot write {path}: {error.strerror or error}{at}; make room there or make it writable, "
        "or name a directory that holds the data (--data-dir)"
    )
