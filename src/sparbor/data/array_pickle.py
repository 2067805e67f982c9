"""Pickles of arrays from elsewhere, which are never allowed to run code."""

import io
import pickle
from typing import Any

import numpy as np


def load_arrays(content: bytes, encoding: str) -> Any:
    """What the pickle `content` holds: NumPy arrays in plain containers; `encoding` is of its strings.

    Raises:
        pickle.UnpicklingError: it asks for anything else; other errors where it is damaged.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding=encoding).load()


class _ArrayUnpickler(pickle.Unpickler):
    """Loads NumPy arrays and plain containers, and nothing else: no other name in the pickle is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        admitted: dict[tuple[str, str], Any] = {
            # Under its names before and since NumPy 2; it does just this.
            ("numpy.core.multiarray", "_reconstruct"): np.ndarray.__new__,
            ("numpy._core.multiarray", "_reconstruct"): np.ndarray.__new__,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a pickle of arrays")
        return admitted[module, name]
