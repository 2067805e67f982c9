"""Whether a layer runs faster sparse or dense on this machine: measured shares of its slots, see docs/kernels.md."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sparbor.engine import takes_tiles
from sparbor.packing import GROUP, Bools, SparseLayer
from sparbor.runtime import choose_kernel_set
from sparbor.windows import Planes, Window, geometry

# The share of its slots from which a linear layer is faster dense, for few rows and for many.
_LINEAR: Mapping[str, tuple[float, float]] = {
    "avx512": (0.8, 0.7),
    "avx2": (0.25, 0.45),
    "portable": (0.17, 0.9),
}
_MANY_ROWS = 6

# The same for a convolution, for planes of few output pixels and of many.
_CONVOLUTION: Mapping[str, tuple[float, float]] = {
    "avx512": (0.37, 0.52),
    "avx2": (0.37, 0.6),
    "portable": (0.7, 0.8),
}
_MANY_PIXELS = 64

# The same where the dense one takes tiles of 2 x 2 outputs.
_TILED: Mapping[str, tuple[float, float]] = {
    "avx512": (0.31, 0.23),
    "avx2": (0.3, 0.24),
    "portable": (0.42, 0.36),
}
_MANY_TILED_PIXELS = 1500


def dense_is_faster(layer: SparseLayer, rows: int) -> bool:
    """Whether the dense kernel would beat the sparse one, running so many rows at once."""
    few, many = _LINEAR[choose_kernel_set()]
    share = layer.topology.slots / (-(-layer.outputs // GROUP) * layer.fan_in)
    return share > (few if rows < _MANY_ROWS else many)


def convolution_is_faster_dense(layer: SparseLayer, real: Bools, window: Window, x: Planes, y: Planes) -> bool:
    """Whether the dense kernel would beat the sparse one from planes `x` to planes `y`.

    `real` are the outputs that do not only fill a group of neurons: the kernels skip the others. A depthwise
    convolution has one output to a group, for which no slots pay.
    """
    outputs = int(real.sum())
    if outputs == window.groups > 1:
        return True
    tiled = takes_tiles(geometry(window, x, y))
    few, many = (_TILED if tiled else _CONVOLUTION)[choose_kernel_set()]
    share = np.count_nonzero(layer.lanes(real)) / (outputs * layer.fan_in)
    return bool(share > (few if y.pixels < (_MANY_TILED_PIXELS if tiled else _MANY_PIXELS) else many))
