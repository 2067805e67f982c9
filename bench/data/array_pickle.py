"""Pickles of NumPy arrays from elsewhere, of which nothing is run, neither code nor NumPy's own unpickling.

A damaged pickle makes NumPy build arrays that do not exist and crash; here each array is checked before it is made.
"""

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLAIN_KINDS = "biuf"


def load_arrays(content: bytes, encoding: str) -> Any:
    """What the pickle `content` holds, plain containers, with a :class:`PickledArray` for each array in it.

    `encoding` is of the strings that Python 2 wrote.

    Raises:
        pickle.UnpicklingError: it asks for anything else; other errors where it is damaged.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding=encoding).load()


class PickledArray:
    """An array as its pickle describes it; ``numpy.asarray`` gives the array itself."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, column_major, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        if math.prod(shape) * kind.dtype.itemsize != len(content):
            raise pickle.UnpicklingError(f"an array of shape {shape} and {kind.dtype} in {len(content)} bytes")
        self._array = np.frombuffer(content, kind.dtype).reshape(shape, order="F" if column_major else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._array, dtype=dtype)


class _PickledType:
    """An array's type, of which the byte order comes second."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self._code = _text(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = np.dtype(_text(state[1]) + self._code)
        if self.dtype.kind not in PLAIN_KINDS:
            raise pickle.UnpicklingError(f"{self.dtype} is no type of plain numbers")


class _ArrayUnpickler(pickle._Unpickler):  # in Python: the one in C takes gigabytes for a damaged memo index
    """No name in the pickle is looked up: those that make up an array stand for the classes above."""

    def find_class(self, module: str, name: str) -> Any:
        admitted = {
            # Under its names before and since NumPy 2; called with the array's class, which is not needed.
            ("numpy.core.multiarray", "_reconstruct"): _new_array,
            ("numpy._core.multiarray", "_reconstruct"): _new_array,
            ("numpy", "ndarray"): PickledArray,
            ("numpy", "dtype"): _PickledType,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a pickle of arrays")
        return admitted[module, name]


def _new_array(*_: object) -> PickledArray:
    return PickledArray()


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value
