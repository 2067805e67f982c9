"""Whether a layer runs faster sparse or dense on this machine: measured shares of its slots, see docs/kernels.md."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.packing import GROUP, SparseLayer
from sparbor.runtime import choose_kernel_set

# The share of its slots from which a linear layer is faster dense, for few rows and for many.
_LINEAR: Mapping[str, tuple[float, float]] = {
    "avx512": (0.8, 0.7),
    "avx2": (0.25, 0.45),
    "portable": (0.17, 0.9),
}
_MANY_ROWS = 6

# The same for a convolution.
_CONVOLUTION: Mapping[str, float] = {"avx512": 0.7, "avx2": 0.5, "portable": 0.5}


def dense_is_faster(layer: SparseLayer, rows: int) -> bool:
    """Whether the dense kernel would beat the sparse one, running so many rows at once."""
    few, many = _LINEAR[choose_kernel_set()]
    share = layer.topology.slots / (-(-layer.outputs // GROUP) * layer.fan_in)
    return share > (few if rows < _MANY_ROWS else many)


def convolution_is_faster_dense(layer: SparseLayer, outputs: int, pixels: int) -> bool:
    """Whether the dense kernel would beat the sparse one.

    A dense convolution has `outputs` rows; a sparse one's are filled up to whole groups, as many more as one of few
    channels or of many groups needs.
    """
    share = layer.topology.slots * GROUP / (outputs * layer.fan_in)
    return share > _CONVOLUTION[choose_kernel_set()]
