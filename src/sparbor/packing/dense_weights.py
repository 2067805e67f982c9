"""Layers that are better run dense: all their weights, and no mask.

They are stored exactly, or as IEEE halves that their neuron's scale multiplies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from sparbor.packing.slots import (
    NEURON_BLOCK,
    Bools,
    Floats,
    Precision,
    aligned_copy,
    check_layer,
    neuron_scale,
    present,
)

FloatsOrHalves: TypeAlias = npt.NDArray[np.float32 | np.float16]


@dataclass(frozen=True)
class DenseWeights(ABC):
    """A matrix as the engine reads it: exact weights, or halves times their neuron's `scale`."""

    outputs: int
    fan_in: int
    stored: FloatsOrHalves
    scale: Floats | None
    bias: Floats | None

    exact_part: ClassVar[str]  # what exact weights are called among the arrays; halves are `halves`

    @staticmethod
    @abstractmethod
    def stored_shape(outputs: int, fan_in: int) -> tuple[int, ...]:
        """Of a matrix (outputs, fan_in) as it is stored."""

    @abstractmethod
    def _rows(self) -> FloatsOrHalves:
        """What is stored, as a matrix (outputs, fan_in)."""

    @property
    def precision(self) -> Precision:
        return Precision.F32 if self.scale is None else Precision.F16

    @property
    def active(self) -> int:
        """Weights that are not zero: a dense layer keeps no mask."""
        return int(np.count_nonzero(self.stored))

    def unpack(self) -> tuple[Floats, Bools]:
        """The (outputs, fan_in) weights that the engine computes with, and a mask that keeps them all."""
        weight = self._rows().astype(np.float32, copy=False)
        if self.scale is not None:
            weight = weight * self.scale[:, None]
        return weight, np.ones(weight.shape, np.bool_)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """What is stored, by name; halves as 16-bit words."""
        stored = {self.exact_part: self.stored} if self.scale is None else {"halves": self.stored.view(np.uint16)}
        return present(**stored, scale=self.scale, bias=self.bias)


class DenseLayer(DenseWeights):
    """A linear layer: for each block of neurons a panel of fan_in × 16 weights."""

    exact_part = "panels"

    @staticmethod
    def stored_shape(outputs: int, fan_in: int) -> tuple[int, ...]:
        return -(-outputs // NEURON_BLOCK), fan_in, NEURON_BLOCK

    def _rows(self) -> FloatsOrHalves:
        return np.ascontiguousarray(self.stored.transpose(0, 2, 1).reshape(-1, self.fan_in)[: self.outputs])


def pack_dense(weight: Floats, bias: Floats | None = None, precision: Precision = Precision.F32) -> DenseLayer:
    """Pack all weights, exactly or as halves with a relative error of at most 2^-11."""
    rows, scale = rounded(weight, bias, precision)
    outputs, fan_in = weight.shape
    whole = np.zeros((-(-outputs // NEURON_BLOCK) * NEURON_BLOCK, fan_in), rows.dtype)
    whole[:outputs] = rows
    panels = whole.reshape(-1, NEURON_BLOCK, fan_in).transpose(0, 2, 1)
    return DenseLayer(outputs, fan_in, aligned_copy(panels), scale, bias)


def rounded(weight: Floats, bias: Floats | None, precision: Precision) -> tuple[FloatsOrHalves, Floats | None]:
    """The weights as they are; or as halves, and what multiplies each row of them."""
    check_layer(weight, np.ones(weight.shape, np.bool_), bias)
    if precision is Precision.F32:
        return weight, None
    scale = neuron_scale(weight)
    return (weight / scale[:, None]).astype(np.float16), scale
