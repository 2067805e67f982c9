"""A convolution's weights: sparse ones packed by its groups, dense ones as plain rows.

Its matrix is (out_channels, fan_in) with fan_in = in_channels / groups × kernel height × kernel width, in that order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparbor.damage import require
from sparbor.packing import (
    GROUP,
    Bools,
    Floats,
    Precision,
    SparseLayer,
    Words,
    aligned_empty,
    check_layer,
    neuron_scale,
    pack,
    present,
)


@dataclass(frozen=True)
class Filters:
    """A dense convolution's matrix: exact `weights`, or `halves`, IEEE halves as 16-bit words, times `scale` by row."""

    outputs: int
    fan_in: int
    weights: Floats | None
    halves: Words | None
    scale: Floats | None
    bias: Floats | None

    @property
    def precision(self) -> Precision:
        return Precision.F32 if self.halves is None else Precision.F16

    @property
    def active(self) -> int:
        """Weights that are not zero: a dense convolution keeps no mask."""
        weights = self.weights if self.halves is None else self.halves.view(np.float16)
        assert weights is not None
        return int(np.count_nonzero(weights))

    def unpack(self) -> tuple[Floats, Bools]:
        """The (outputs, fan_in) weights that the engine computes with, and a mask that keeps them all."""
        if self.halves is None:
            assert self.weights is not None
            weight = self.weights
        else:
            assert self.scale is not None
            weight = self.halves.view(np.float16).astype(np.float32) * self.scale[:, None]
        return weight, np.ones(weight.shape, np.bool_)

    def arrays(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
        """What is stored, by name."""
        return present(weights=self.weights, halves=self.halves, scale=self.scale, bias=self.bias)


def pack_filters(weight: Floats, bias: Floats | None = None, precision: Precision = Precision.F32) -> Filters:
    """Pack all weights, exactly or as halves with a relative error of at most 2^-11."""
    check_layer(weight, np.ones(weight.shape, np.bool_), bias)
    outputs, fan_in = weight.shape
    scale = neuron_scale(weight) if precision is Precision.F16 else None
    stored = aligned_empty(weight.shape, np.float32 if scale is None else np.float16)
    stored[...] = weight if scale is None else weight / scale[:, None]
    if scale is None:
        return Filters(outputs, fan_in, stored, None, None, bias)
    return Filters(outputs, fan_in, None, stored.view(np.uint16), scale, bias)


def pack_by_groups(
    weight: Floats, mask: Bools, bias: Floats | None, groups: int, precision: Precision = Precision.F16
) -> SparseLayer:
    """Pack a convolution's matrix; with several groups, each one's outputs are filled up to whole groups of neurons.

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
    """Which rows of a convolution's packed matrix are its outputs, and not there to fill a group of neurons."""
    if groups == 1:
        return np.ones(outputs, np.bool_)
    each = outputs // groups
    whole = np.zeros((groups, -(-each // GROUP) * GROUP), np.bool_)
    whole[:, :each] = True
    return whole.reshape(-1)


def check_convolution(name: str, layer: SparseLayer, groups: int, outputs: int) -> None:
    """Refuse a packed matrix from a file that is not one of so many outputs in so many groups."""
    real = real_rows(outputs, groups)
    rows = f"{layer.outputs} rows for {outputs} channels in {groups} groups, {len(real)} expected"
    require(len(real) == layer.outputs, f"layer {name!r}: {rows}")
    stray = "a synapse belongs to a neuron that only fills its group"
    require(not layer.has_synapses_outside(real), f"layer {name!r}: {stray}")
