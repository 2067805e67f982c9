"""Sparbor's operators for ONNX Runtime: where the library lies that a session's options register."""

from __future__ import annotations

import sys
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
    if (reason := missing()) is not None:
        raise EngineMissingError(reason)
    return str(_library())


def missing() -> str | None:
    """Why there is no such library, or ``None``."""
    if _library().exists():
        return None
    return (
        f"{_library().name} is not part of this installation: it was built without ONNX Runtime's C header. Install"
        " Debian's libonnxruntime-dev, or name the folder of onnxruntime_c_api.h by the environment variable"
        " SPARBOR_ONNXRUNTIME_INCLUDE, and install sparbor from source"
    )


def _library() -> Path:
    import sparbor

    name = f"libsparbor_onnxruntime{_ENDINGS.get(sys.platform, '.so')}"
    places = [Path(each) / name for each in sparbor.__path__]
    return next((place for place in places if place.exists()), places[0])
