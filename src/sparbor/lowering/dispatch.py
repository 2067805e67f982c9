"""Whether a layer runs faster sparse or dense on this machine: measured shares of its slots, see docs/kernels.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparbor.native import choose_kernel_set, takes_tiles
from sparbor.packing.slots import NEURON_BLOCK, Bools, SparseLayer
from sparbor.program.windows import Planes, Window, geometry


@dataclass(frozen=True)
class _Rule:
    """From which share of its slots on a layer is faster dense, by kernel set: for few rows or pixels and for many."""

    many: int
    shares: Mapping[str, tuple[float, float]]

    def share(self, count: int) -> float:
        """For so many rows or pixels, on the kernel set that runs here."""
        few, many = self.shares[choose_kernel_set()]
        return few if count < self.many else many


# NEON was measured on no machine yet: its vectors are as wide as those of the portable set.
_LINEAR = _Rule(6, {"avx512": (0.8, 0.7), "avx2": (0.25, 0.45), "neon": (0.5, 0.9), "portable": (0.5, 0.9)})
_CONVOLUTION = _Rule(64, {"avx512": (0.35, 0.58), "avx2": (0.33, 0.63), "neon": (0.7, 0.8), "portable": (0.7, 0.8)})
# Where the dense convolution takes tiles of 2 x 2 outputs.
_TILED = _Rule(1500, {"avx512": (0.34, 0.28), "avx2": (0.32, 0.28), "neon": (0.43, 0.39), "portable": (0.43, 0.39)})


def linear_share(rows: int) -> float:
    """The share of its slots above which a linear layer is faster dense, running so many rows at once."""
    return _LINEAR.share(rows)


def convolution_share(window: Window, x: Planes, y: Planes) -> float:
    """The same of a convolution from planes `x` to planes `y`.

    A depthwise convolution has one output to a group, for which no slots pay.
    """
    if y.channels == window.groups > 1:
        return 0.0
    rule = _TILED if takes_tiles(geometry(window, x, y)) else _CONVOLUTION
    return rule.share(y.pixels)


def dense_is_faster(layer: SparseLayer, rows: int) -> bool:
    """Whether the dense kernel would beat the sparse one, running so many rows at once."""
    share = layer.layout.slots / (-(-layer.outputs // NEURON_BLOCK) * layer.fan_in)
    return share > linear_share(rows)


def convolution_is_faster_dense(layer: SparseLayer, real: Bools, window: Window, x: Planes, y: Planes) -> bool:
    """Whether the dense kernel would beat the sparse one from planes `x` to planes `y`.

    `real` are the outputs that do not only fill a group of neurons: the kernels skip the others.
    """
    outputs = int(real.sum())
    if outputs == window.groups > 1:
        return True  # without a synapse as well
    share = np.count_nonzero(layer.lanes(real)) / (outputs * layer.fan_in)
    return bool(share > convolution_share(window, x, y))
