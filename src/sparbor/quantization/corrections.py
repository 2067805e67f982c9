"""Biases that take back what rounding does to the mean of what a convolution computes.

What a convolution reads is rounded, and its weights are. Both errors have a mean over the calibration inputs, channel
by channel; and a channel that is almost the same everywhere, as that of a neuron which lost all its weights, has
nothing but a mean. How far these means move an output is known, and its bias takes it back (Nagel et al., 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sparbor.packing.filters import Filters
from sparbor.packing.quads import QuadLayer
from sparbor.program.program import Program, Quantization
from sparbor.quantization.layers import Kernels, PackedConvolution, exact_kernels, packed_kernels
from sparbor.quantization.ranges import rounded
from sparbor.quantization.rewriting import Plan
from sparbor.quantization.watching import Batch, watched


class Means(NamedTuple):
    """Of each channel of a value, exact and rounded."""

    exact: npt.NDArray[np.float64]
    rounded: npt.NDArray[np.float64]


Rounded = tuple[int, Quantization]  # a value, and as what


class Corrections:
    """The convolutions of a program with 8 bits, and what is known to correct them by."""

    def __init__(self, exact: Program, packed: Mapping[str, PackedConvolution], batches: Sequence[Batch]) -> None:
        self._exact, self._packed, self._batches = exact, packed, batches
        self._means: dict[Rounded, Means] = {}

    def corrected(self, plan: Plan, known: Mapping[int, Quantization]) -> dict[str, QuadLayer | Filters]:
        """By name, the layers of what the plan has in bytes."""
        reads = _reads(plan, known)
        self._learn({each for inputs in reads.values() for each in inputs} - self._means.keys())
        return {name: self._layer(name, inputs) for name, inputs in reads.items()}

    def _learn(self, new: set[Rounded]) -> None:
        """The means of the channels of more values."""
        sums = {each: np.zeros((2, _channels(self._exact, each[0]))) for each in new}
        counts = dict.fromkeys(new, 0)
        for found in watched(self._exact, [value for value, _ in new], self._batches) if new else ():
            for each in new:
                numbers = found[each[0]]
                along = (0, *range(2, numbers.ndim))
                sums[each] += [kind.sum(along, np.float64) for kind in (numbers, rounded(numbers, each[1]))]
                counts[each] += numbers.size // numbers.shape[1]
        self._means |= {each: Means(*(sums[each] / counts[each])) for each in new}

    def _layer(self, name: str, inputs: Sequence[Rounded]) -> QuadLayer | Filters:
        """The layer that reads planes, and perhaps adds others to its result."""
        packed = self._packed[name]
        layer, order = packed
        means, *others = (self._means[each] for each in inputs)
        exact, _, _ = exact_kernels(self._exact.layers[name], order, layer.outputs)
        moved = _means_of(packed_kernels(packed), means.rounded) - _means_of(exact, means.exact)
        moved += sum(other.rounded - other.exact for other in others)
        bias = np.zeros(len(moved)) if layer.bias is None else layer.bias
        return replace(layer, bias=(bias - moved).astype(np.float32))


def _channels(program: Program, value: int) -> int:
    channels = program.values[value].shape[1]
    assert isinstance(channels, int)  # or it would not be planes in bytes
    return channels


def _reads(plan: Plan, known: Mapping[int, Quantization]) -> dict[str, list[Rounded]]:
    """By layer of what is in bytes, the values that it reads, the planes first."""
    reads = {}
    for operation, convolution in plan.steps():
        layer = (convolution or operation).layer
        if operation.output in plan.in_bytes and layer is not None:
            values = operation.inputs if convolution is None else plan.read_by(operation, convolution)
            reads[layer] = [(value, plan.quantization(value, known)) for value in values]
    return reads


def _means_of(kernels: Kernels, channels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The means of the outputs, but for the bias and for borders, from those of the input's channels."""
    outputs, own = kernels.shape[:2]
    by_channel = kernels.sum((2, 3), np.float64)
    groups = len(channels) // own
    of_group = channels.reshape(groups, own).repeat(outputs // groups, 0)
    return np.asarray((by_channel * of_group).sum(1))
