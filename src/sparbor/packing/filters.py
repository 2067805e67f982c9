"""A convolution's weights: sparse ones packed by its groups, dense ones as plain rows.

Its matrix is (out_channels, fan_in) with fan_in = in_channels / groups × kernel height × kernel width, in that order.
"""

from __future__ import annotations

import numpy as np

from sparbor.packing.dense_weights import DenseWeights, FloatsOrHalves, rounded
from sparbor.packing.slots import NEURON_BLOCK, Bools, Floats, Precision, SparseLayer, aligned_copy, pack


class Filters(DenseWeights):
    """A dense convolution's matrix, row by row."""

    exact_part = "weights"

    @staticmethod
    def stored_shape(outputs: int, fan_in: int) -> tuple[int, ...]:
        return outputs, fan_in

    def _rows(self) -> FloatsOrHalves:
        return self.stored


def pack_filters(weight: Floats, bias: Floats | None = None, precision: Precision = Precision.F32) -> Filters:
    """Pack all weights, exactly or as halves with a relative error of at most 2^-11."""
    rows, scale = rounded(weight, bias, precision)
    outputs, fan_in = weight.shape
    return Filters(outputs, fan_in, aligned_copy(rows), scale, bias)


def pack_by_groups(
    weight: Floats, mask: Bools, bias: Floats | None, groups: int, precision: Precision = Precision.F16
) -> SparseLayer:
    """Pack a convolution's matrix; with several groups, each one's outputs are filled up to whole blocks of neurons.

    So no 16 neurons ever belong to two groups of the convolution. The rows added have no synapses.
    """
    if groups == 1:
        return pack(weight, mask, bias, precision)
    real = real_rows(len(weight), groups)
    spread, spread_mask = (
        np.zeros((len(real), weight.shape[1]), np.float32),
        np.zeros((len(real), weight.shape[1]), np.bool_),
    )
    spread[real], spread_mask[real] = weight, mask
    spread_bias = None
    if bias is not None:
        spread_bias = np.zeros(len(real), np.float32)
        spread_bias[real] = bias
    return pack(spread, spread_mask, spread_bias, precision)


def real_rows(outputs: int, groups: int) -> Bools:
    """Which rows of a convolution's packed matrix are its outputs, and not there to fill a block of neurons."""
    if groups == 1:
        return np.ones(outputs, np.bool_)
    each = outputs // groups
    whole = np.zeros((groups, -(-each // NEURON_BLOCK) * NEURON_BLOCK), np.bool_)
    whole[:, :each] = True
    return whole.reshape(-1)
