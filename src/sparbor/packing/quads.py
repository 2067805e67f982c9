"""Weights and masks to quads, and back: 8-bit weights and inputs.

A quad is 64 synapses, four of each neuron of a block, all on one branch of 64 inputs. A weight is a whole number from
-127 to 127 times its neuron's scale. `docs/format/layers.md` lists the arrays.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparbor.packing.slots import (
    NEURON_BLOCK,
    PADDING_INDEX,
    Bools,
    Bytes,
    Counts,
    Encoding,
    Floats,
    PackedSynapses,
    check_layer,
    place_synapses,
    present,
)
from sparbor.packing.whole_numbers import Signed, scale_of, whole_numbers

QUAD_BRANCH = 64
SYNAPSES = 4  # of a neuron in a quad


@dataclass(frozen=True)
class QuadLayer(PackedSynapses):
    """A packed layer of 8-bit `weights` at `indices`, (quads, 16, 4), times their neuron's `scale`."""

    indices: Bytes
    weights: Signed
    scale: Floats
    bias: Floats | None

    encoding = Encoding.INT8

    @property
    def padding(self) -> Bools:
        return np.equal(self.indices, PADDING_INDEX)

    def unpack(self) -> tuple[Floats, Bools]:
        """The (outputs, fan_in) weights that the engine computes with, and their mask."""
        rows, columns, whole = self._synapses()
        return self._spread(rows, columns, whole * self.scale[rows])

    def whole_weights(self) -> Signed:
        """The (outputs, fan_in) whole numbers that the scales multiply."""
        rows, columns, whole = self._synapses()
        weights = np.zeros((self.outputs, self.fan_in), np.int8)
        weights[rows, columns] = whole
        return weights

    def whole_sums(self) -> Counts:
        """Of each neuron, the sum of those, without the matrix that they are in."""
        rows, _, whole = self._synapses()
        return np.bincount(rows, whole, self.outputs).astype(np.int64)  # doubles, which hold sums of 32 bits exactly

    def _synapses(self) -> tuple[Counts, Counts, Signed]:
        """Of each, its neuron, its input and its whole number."""
        blocks, branches = self.layout.slot_positions()
        quad, lane, number = np.nonzero(~self.padding)
        rows = blocks[quad] * NEURON_BLOCK + lane
        return rows, branches[quad] * QUAD_BRANCH + self.indices[quad, lane, number], self.weights[quad, lane, number]

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """What is stored, by name."""
        layout: dict[str, npt.NDArray[Any]] = dict(vars(self.layout))
        layout["run_quads"] = layout.pop("run_slots")
        return present(**layout, indices=self.indices, weights=self.weights, scale=self.scale, bias=self.bias)


def pack_quads(weight: Floats, mask: Bools, bias: Floats | None = None) -> QuadLayer:
    """Pack the weights that the mask keeps as quads; any mask packs.

    A branch on which the neurons of a block have different numbers of synapses, or no multiple of four, is padded.

    Raises:
        ArgumentError: no layer's weight, mask and bias; a number that is not finite; or weights whose products with
            bytes may add up to more than 32 bits hold.
    """
    check_layer(weight, mask, bias, QUAD_BRANCH)
    outputs, fan_in = weight.shape
    rows, columns = np.nonzero(mask)
    layout, place = place_synapses(weight.shape, rows, columns, QUAD_BRANCH, SYNAPSES)
    values = weight[rows, columns]
    scale = scale_of(np.where(mask, weight, np.float32(0)))
    whole = whole_numbers(values / scale[rows], rows, fan_in)
    weights = np.zeros((layout.slots, NEURON_BLOCK, SYNAPSES), np.int8)
    indices = np.full(weights.shape, PADDING_INDEX, np.uint8)
    at = place // SYNAPSES, rows % NEURON_BLOCK, place % SYNAPSES
    weights[at], indices[at] = whole, columns % QUAD_BRANCH
    return QuadLayer(outputs, fan_in, layout, indices, weights, scale, bias)
