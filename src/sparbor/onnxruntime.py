"""Sparbor's operators for ONNX Runtime: where the library lies that a session's options register."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from sparbor.errors import EngineMissingError

_ENDINGS = {"win32": ".dll", "darwin": ".dylib"}


def library_path() -> str:
    """The path of the library with the operators SparseLinear and SparseConv of domain ``sparbor``.

    ONNX Runtime 1.17 or later loads it; models that ``sparbor onnx pack`` writes need it.

    Raises:
        EngineMissingError: this installation was built without it.

    >>> import onnxruntime  # doctest: +SKIP
    >>> options = onnxruntime.SessionOptions()  # doctest: +SKIP
    >>> options.register_custom_ops_library(library_path())  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("packed.onnx", options)  # doctest: +SKIP
    """
    return _checked("libsparbor_onnxruntime")


def preload_path() -> str:
    """The path of a library that gives the operators to all sessions of a process that has it in ``LD_PRELOAD``.

    For programs that cannot name a library of operators, such as those of onnxruntime-node; on Linux.

    Raises:
        EngineMissingError: this installation was built without it.
    """
    return _checked("libsparbor_onnxruntime_preload")


def missing(name: str = "libsparbor_onnxruntime") -> str | None:
    """Why there is no such library, or ``None``."""
    if _path(name).exists():
        return None
    return (
        f"{_path(name).name} is not part of this installation: it was built without ONNX Runtime's C header. Install"
        " Debian's libonnxruntime-dev, or name the folder of onnxruntime_c_api.h by the environment variable"
        " SPARBOR_ONNXRUNTIME_INCLUDE, and install sparbor from source"
    )


def _checked(name: str) -> str:
    if (reason := missing(name)) is not None:
        raise EngineMissingError(reason)
    return str(_path(name))


def _path(name: str) -> Path:
    """In the package; of an editable installation, that is the checkout and where the rest is installed."""
    package = find_spec("sparbor")
    assert package is not None  # this is a part of it
    file = f"{name}{_ENDINGS.get(sys.platform, '.so')}"
    places = [Path(each) / "lib" / file for each in package.submodule_search_locations or ()]
    return next((place for place in places if place.exists()), places[0])
