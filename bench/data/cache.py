"""The user cache: downloads, and images that took long to decode."""

import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from bench.data.dataset import UInt8Array
from sparbor.errors import OutputError
from sparbor.files import write_file

logger = logging.getLogger(__name__)

Arrays = Mapping[str, UInt8Array]


def cache_dir() -> Path:
    """Where downloaded and decoded data is kept for the next time."""
    return platformdirs.user_cache_path("sparbor")


def note_origin(place: Path, origin: str) -> None:
    """Keep beside `place`, a file or folder of the cache, where it was downloaded from."""
    try:
        write_file(_note_of(place), origin.encode())
    except OutputError as error:
        logger.warning("where the data came from could not be kept for the next time: %s", error)


def origin_of(place: Path) -> str:
    """Where `place` was downloaded from; what nothing was noted for comes from the cache itself."""
    try:
        return _note_of(place).read_text("utf-8")
    except (OSError, ValueError):
        return str(place)


def _note_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.origin")


def remember(digest: str, decode: Callable[[], Arrays]) -> Arrays:
    """What `decode` gives for the content whose digest this is: from the cache, or decoded now and kept there.

    The key is the content itself, so what has changed is never taken for what it was. A cache that cannot be written
    costs time the next time, nothing else.
    """
    path = cache_dir() / "decoded" / f"{digest}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)  # each member is checked against its CRC-32
        except Exception as error:  # zipfile and NumPy raise what they like for damaged bytes
            logger.warning("cached file %s is damaged (%s); decoding the images again", path, error)
    arrays = decode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        members: dict[str, Any] = dict(arrays)
        np.savez(content, **members)
        write_file(path, content.getvalue())
    except (OSError, OutputError) as error:
        logger.warning("the decoded images could not be kept for the next time: %s", error)
    return arrays
