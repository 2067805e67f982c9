"""Arrays that users name: files of numpy.save and numpy.savez."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparbor.errors import ArgumentError, first_line

if TYPE_CHECKING:
    import numpy as np

NPY_MAGIC = b"\x93NUMPY"


def read_array(path: Path) -> np.ndarray[Any, Any]:
    """Of a .npy file."""
    import numpy as np

    try:
        with path.open("rb") as file:
            if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise ArgumentError(f"input={str(path)!r}: not a .npy file; write one with numpy.save")
            file.seek(0)
            array: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
            return array
    except ArgumentError:
        raise
    except Exception as error:  # NumPy parses the header as Python and lets each kind of fault through
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ArgumentError(
            f"input={str(path)!r}: cannot be read as a .npy array ({reason}); write one with numpy.save"
        ) from error


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Of a .npz file, by their names."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # as of `read_array`; an array alone is no context
        raise ArgumentError(
            f"inputs={str(path)!r}: cannot be read as a .npz file; write one with numpy.savez"
        ) from error
