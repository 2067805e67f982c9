"""The program: what a model is lowered to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.packing.dense_weights import DenseLayer
from sparbor.packing.filters import Filters
from sparbor.packing.slots import FINITE_WANTED, Floats, SparseLayer, not_finite
from sparbor.program.byte_input import ByteInput
from sparbor.program.windows import AverageWindow, Shape, Window

Array: TypeAlias = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Activation:
    """One of :data:`sparbor.ops.activations.ACTIVATIONS`, with its parameters in their order there."""

    name: str
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class Affine:
    """y = x · scale + shift, feature by feature or channel by channel."""

    scale: Floats
    shift: Floats

    def arrays(self) -> dict[str, Array]:
        return {"scale": self.scale, "shift": self.shift}


@dataclass(frozen=True)
class Normalisation:
    """Of a layer norm: y = (x − mean) / √(variance + epsilon)."""

    epsilon: float


Settings: TypeAlias = Window | AverageWindow | Normalisation
Weights: TypeAlias = SparseLayer | DenseLayer | Filters | Affine


def stored_bytes(layer: Weights) -> int:
    """What the layer's arrays take, in memory as in a file."""
    return sum(array.nbytes for array in layer.arrays().values())


@dataclass(frozen=True)
class Operation:
    """Of one of the kinds in :data:`sparbor.ops.table.OPERATORS`.

    `layer` names its weights; `activation` follows it or, for kind "activation", is it.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    layer: str | None = None
    activation: Activation | None = None
    settings: Settings | None = None


@dataclass(frozen=True)
class Program:
    """Operations in order over numbered values; `shapes` are those of one item of the batch."""

    shapes: tuple[Shape, ...]
    input: int
    output: int
    operations: tuple[Operation, ...]
    layers: Mapping[str, Weights] = field(default_factory=dict)
    byte_input: ByteInput | None = None

    def __post_init__(self) -> None:
        for name, layer in self.layers.items():
            if (part := not_finite(layer.arrays())) is not None:
                raise ArgumentError(f"layer {name!r}: {part} holds NaN or infinity{FINITE_WANTED}")

    @property
    def weight_bytes(self) -> int:
        return sum(map(stored_bytes, self.layers.values()))
