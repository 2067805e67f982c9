"""Layers that are better run dense: all their weights, and no mask.

They are stored exactly, or as IEEE halves that their neuron's scale multiplies.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from sparbor.packing.slots import NEURON_BLOCK, Bools, Encoding, Floats, check_layer, neuron_scale, present

FloatsOrHalves: TypeAlias = npt.NDArray[np.float32 | np.float16]
_Packed = TypeVar("_Packed", bound="DenseWeights")


@dataclass(frozen=True)
class DenseWeights:
    """A matrix as the engine reads it: exact weights, or halves times their neuron's `scale`, row by row."""

    outputs: int
    fan_in: int
    stored: FloatsOrHalves
    scale: Floats | None
    bias: Floats | None

    exact_part: ClassVar[str] = "weights"  # what exact weights are called among the arrays; halves are `halves`

    @classmethod
    def pack(
        cls: type[_Packed], weight: Floats, bias: Floats | None = None, encoding: Encoding = Encoding.EXACT
    ) -> _Packed:
        """All weights, exactly or as halves with a relative error of at most 2^-11."""
        check_layer(weight, np.ones(weight.shape, np.bool_), bias)
        rows: FloatsOrHalves = weight
        scale = None if encoding is Encoding.EXACT else neuron_scale(weight)
        if scale is not None:
            rows = (weight / scale[:, None]).astype(np.float16)
        outputs, fan_in = weight.shape
        return cls(outputs, fan_in, np.array(cls._stored(rows), order="C"), scale, bias)

    @staticmethod
    def _stored(rows: FloatsOrHalves) -> FloatsOrHalves:
        return rows

    def _rows(self) -> FloatsOrHalves:
        """What is stored, as a matrix (outputs, fan_in)."""
        return self.stored

    @property
    def encoding(self) -> Encoding:
        return Encoding.EXACT if self.scale is None else Encoding.WORD16

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
    def _stored(rows: FloatsOrHalves) -> FloatsOrHalves:
        filled = np.pad(rows, ((0, -len(rows) % NEURON_BLOCK), (0, 0)))
        return filled.reshape(-1, NEURON_BLOCK, rows.shape[1]).transpose(0, 2, 1)

    def _rows(self) -> FloatsOrHalves:
        return np.ascontiguousarray(self.stored.transpose(0, 2, 1).reshape(-1, self.fan_in)[: self.outputs])


pack_dense = DenseLayer.pack
