"""A convolution's weights: sparse ones packed by its groups, dense ones as plain rows.

Its matrix is (out_channels, fan_in) with fan_in = in_channels / groups × kernel height × kernel width, in that order.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.packing.dense_weights import DenseWeights, Stored
from sparbor.packing.slots import NEURON_BLOCK, Bools, Encoding, Floats, SparseLayer, pack

_Number = TypeVar("_Number", bound=np.generic)


class Filters(DenseWeights):
    """A dense convolution's matrix, row by row.

    Those of 8 bits are stored as their inputs' bytes lie: (outputs, kernel height, kernel width, channels / groups).
    """

    def _rows(self) -> Stored:
        if self.encoding is Encoding.INT8:
            return self.stored.transpose(0, 3, 1, 2).reshape(self.outputs, self.fan_in)
        return self.stored


pack_filters = Filters.pack


def pack_filters_as_bytes(weight: Floats, bias: Floats | None = None) -> Filters:
    """Pack a convolution's weight (outputs, channels / groups, kernel height, kernel width) in 8 bits.

    Raises:
        ArgumentError: no convolution's weight and bias; a number that is not finite; or weights whose products with
            bytes may add up to more than 32 bits hold.
    """
    if weight.ndim != 4:
        raise ArgumentError(
            f"weight has shape {weight.shape}: a convolution's is (outputs, channels / groups, kernel height, kernel "
            "width); give one along a line a kernel height of 1"
        )
    in_order = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    rows = pack_filters(in_order.reshape(len(weight), -1), bias, Encoding.INT8)
    return replace(rows, stored=rows.stored.reshape(in_order.shape))


def pack_by_groups(
    weight: Floats, mask: Bools, bias: Floats | None, groups: int, encoding: Encoding = Encoding.WORD16
) -> SparseLayer:
    """Pack a convolution's matrix; with several groups, each one's outputs are filled up to whole blocks of neurons.

    So no 16 neurons ever belong to two groups of the convolution. The rows added have no synapses.
    """
    if groups == 1:
        return pack(weight, mask, bias, encoding)
    real = real_rows(len(weight), groups)
    spread_bias = None if bias is None else _spread(bias, real)
    return pack(_spread(weight, real), _spread(mask, real), spread_bias, encoding)


def _spread(rows: npt.NDArray[_Number], real: Bools) -> npt.NDArray[_Number]:
    """The rows where they are real, and zeros between them."""
    spread = np.zeros((len(real), *rows.shape[1:]), rows.dtype)
    spread[real] = rows
    return spread


def real_rows(outputs: int, groups: int) -> Bools:
    """Which rows of a convolution's packed matrix are its outputs, and not there to fill a block of neurons."""
    if groups == 1:
        return np.ones(outputs, np.bool_)
    each = outputs // groups
    whole = np.zeros((groups, -(-each // NEURON_BLOCK) * NEURON_BLOCK), np.bool_)
    whole[:, :each] = True
    return whole.reshape(-1)
