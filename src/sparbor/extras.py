"""Packages that only some parts need: where one is missing, the error names the extra that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from sparbor.errors import PackageMissingError


@contextmanager
def brought_by(extra: str, what: str) -> Iterator[None]:
    """Imports that `what` needs and the extra brings.

    A package that is there and cannot be imported is another fault, and passes as it is.

    Raises:
        PackageMissingError: a package is not installed.
    """
    try:
        yield
    except PackageMissingError:  # which names the extra that brings it
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "sparbor") or find_spec(package) is not None:
            raise
        raise PackageMissingError(
            f"{what} needs {package}, which is not installed: run `pip install 'sparbor[{extra}]'`", name=package
        ) from None  # where it was imported helps nobody
