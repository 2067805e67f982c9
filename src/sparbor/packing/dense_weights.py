"""Layers that are better run dense: all their weights, and no mask.

They are stored exactly, or as IEEE halves or whole numbers of 8 bits that their neuron's scale multiplies.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from sparbor.packing.slots import NEURON_BLOCK, Bools, Encoding, Floats, check_layer, neuron_scale, present
from sparbor.packing.whole_numbers import Signed, scale_of, whole_numbers

Stored: TypeAlias = npt.NDArray[np.float32 | np.float16 | np.int8]
_Packed = TypeVar("_Packed", bound="DenseWeights")


@dataclass(frozen=True)
class DenseWeights:
    """A matrix as the engine reads it: exact weights, or halves or bytes times their neuron's `scale`, row by row."""

    outputs: int
    fan_in: int
    stored: Stored
    scale: Floats | None
    bias: Floats | None

    exact_part: ClassVar[str] = (
        "weights"  # what exact weights are called among the arrays; halves are `halves`, bytes `weights`
    )

    @classmethod
    def pack(
        cls: type[_Packed], weight: Floats, bias: Floats | None = None, encoding: Encoding = Encoding.EXACT
    ) -> _Packed:
        """All weights, exactly, as halves with a relative error of at most 2^-11, or in 8 bits.

        Raises:
            ArgumentError: no layer's weight and bias; a number that is not finite; or weights of 8 bits whose products
                with bytes may add up to more than 32 bits hold.
        """
        check_layer(weight, np.ones(weight.shape, np.bool_), bias)
        outputs, fan_in = weight.shape
        if encoding is Encoding.INT8:
            scale = scale_of(weight)
            whole = whole_numbers((weight / scale[:, None]).reshape(-1), np.arange(outputs).repeat(fan_in), fan_in)
            return cls(outputs, fan_in, whole.reshape(outputs, fan_in), scale, bias)
        if encoding is Encoding.EXACT:
            return cls(outputs, fan_in, np.array(cls._stored(weight), order="C"), None, bias)
        scale = neuron_scale(weight)
        halves = (weight / scale[:, None]).astype(np.float16)
        return cls(outputs, fan_in, np.array(cls._stored(halves), order="C"), scale, bias)

    @staticmethod
    def _stored(rows: Stored) -> Stored:
        return rows

    def _rows(self) -> Stored:
        """What is stored, as a matrix (outputs, fan_in)."""
        return self.stored

    @property
    def encoding(self) -> Encoding:
        if self.stored.dtype == np.int8:
            return Encoding.INT8
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

    def whole_weights(self) -> Signed:
        """The (outputs, fan_in) whole numbers that the scales multiply, of a layer of 8 bits."""
        assert self.encoding is Encoding.INT8
        return self._rows().astype(np.int8, copy=False)

    def whole_sums(self) -> npt.NDArray[np.int64]:
        """Of each neuron, the sum of those."""
        sums: npt.NDArray[np.int64] = self.whole_weights().sum(axis=1, dtype=np.int64)
        return sums

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """What is stored, by name; halves as 16-bit words."""
        stored: dict[str, npt.NDArray[Any]] = {}
        match self.encoding:
            case Encoding.EXACT:
                stored[self.exact_part] = self.stored
            case Encoding.WORD16:
                stored["halves"] = self.stored.view(np.uint16)
            case Encoding.INT8:
                stored["weights"] = self.stored
        return present(**stored, scale=self.scale, bias=self.bias)


class DenseLayer(DenseWeights):
    """A linear layer: for each block of neurons a panel of fan_in × 16 weights; those of 8 bits row by row."""

    exact_part = "panels"

    @staticmethod
    def _stored(rows: Stored) -> Stored:
        filled = np.pad(rows, ((0, -len(rows) % NEURON_BLOCK), (0, 0)))
        return filled.reshape(-1, NEURON_BLOCK, rows.shape[1]).transpose(0, 2, 1)

    def _rows(self) -> Stored:
        if self.encoding is Encoding.INT8:
            return self.stored
        return np.ascontiguousarray(self.stored.transpose(0, 2, 1).reshape(-1, self.fan_in)[: self.outputs])


pack_dense = DenseLayer.pack
