"""Several places to get the same data from: the first that works is used."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from bench.data.errors import DataError
from bench.data.fetch import DownloadError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def use_first(title: str, sources: Iterable[tuple[str, Callable[[], Result]]], remedy: str) -> tuple[str, Result]:
    """The name and the result of the first source that does not end in a DownloadError.

    Raises:
        DataError: none works; one line tells what each said. Other errors end the search.
    """
    failures = []
    for name, get in sources:
        try:
            return name, get()
        except DownloadError as error:
            logger.info("source failed: %s", error)
            failures.append(" ".join(str(error).split()))
    raise DataError(
        f"{title} is not in the cache and no source could provide it: {'; '.join(failures)}; "
        f"name a directory that holds {remedy} (--data-dir or SPARBOR_DATA)"
    )
