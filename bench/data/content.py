"""A file's bytes: read, decompressed, told apart; the errors name the file."""

import gzip
import hashlib
import zlib
from pathlib import Path

from bench.data.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


def read_content(path: Path) -> bytes:
    """The bytes of the file at `path`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file or directory that the system does not let us read."""
    return DataError(f"{path}: cannot be read ({error.strerror}); make it readable or replace it")


def decompress(content: bytes) -> bytes:
    """The content without its compression; told by its first bytes, as the name of a partial file says nothing."""
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise DataError(f"truncated: its {len(content)} bytes end within the gzip data") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"corrupt gzip data ({error})") from error


def md5_of(content: bytes) -> str:
    """The MD5 in hexadecimal digits: what official data is told by."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def official_fault(path: Path, md5: str, *, uncompressed: bool = False) -> str | None:
    """What keeps the file at `path` from having the official MD5, or None; `uncompressed` if that is of its content."""
    try:
        content = read_content(path)
        found = md5_of(decompress(content) if uncompressed else content)
    except DataError as error:
        return str(error)
    return None if found == md5 else f"MD5 {found}, not the official {md5}"
