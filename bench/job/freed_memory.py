"""What tensors free stays with the process.

The C library gives large blocks back to the kernel as soon as they are freed, and gets them page by page when the next
step needs them again. Then how long a step takes depends on which of its tensors happen to be large enough.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_ALMOST_ALL = (1 << 31) - 1


def keep() -> bool:
    """From now on freed memory is kept for what comes; whether this C library can be told so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(name, _ALMOST_ALL) for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
