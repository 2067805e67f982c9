"""Who does the native work of training: a kernel set, on the threads that PyTorch has."""

import ctypes
from functools import lru_cache
from pathlib import Path

import torch

from sparbor import native


def workers() -> tuple[str, int, int]:
    """The kernel set, how many threads, and where PyTorch's OpenMP runtime starts them."""
    return native.choose_kernel_set(), torch.get_num_threads(), _openmp()


@lru_cache
def _openmp() -> int:
    """Where PyTorch's OpenMP runtime starts its threads; 0 if it has another one than GNU's or LLVM's."""
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        library = Path(torch.__file__).parent / "lib" / name
        if library.exists():
            start = getattr(ctypes.CDLL(str(library)), "GOMP_parallel", None)
            return ctypes.cast(start, ctypes.c_void_p).value or 0 if start else 0
    return 0
