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

# The activations, and the names of their parameters. A kernel takes at most two.
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "relu": (),
    "clamp": ("low", "high"),
    "leaky_relu": ("slope",),
    "elu": ("alpha", "scale"),
    "gelu": (),
    "gelu_tanh": (),
    "silu": (),
    "sigmoid": (),
    "tanh": (),
    "hardswish": (),
    "hardsigmoid": (),
    "softplus": ("beta", "threshold"),
}


@dataclass(frozen=True)
class Activation:
    """One of ACTIVATIONS, with its parameters in their order there."""

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
    """One of KINDS; `layer` names its weights, `activation` follows it or, for kind "activation", is it."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    layer: str | None = None
    activation: Activation | None = None
    settings: Settings | None = None


@dataclass(frozen=True)
class Kind:
    """What an operation of a kind has; `inputs` is None where any number from 1 will do."""

    inputs: int | None = 1
    has_layer: bool = False
    may_lack_layer: bool = False
    takes_activation: bool = False
    settings: type[Settings] | None = None


KINDS: Mapping[str, Kind] = {
    "linear": Kind(has_layer=True, takes_activation=True),
    "convolution": Kind(has_layer=True, takes_activation=True, settings=Window),
    "affine": Kind(has_layer=True),
    "channel_affine": Kind(has_layer=True),
    "layer_norm": Kind(has_layer=True, may_lack_layer=True, settings=Normalisation),
    "activation": Kind(takes_activation=True),
    "softmax": Kind(),
    "reshape": Kind(),
    "add": Kind(inputs=2, takes_activation=True),
    "concat": Kind(inputs=None),
    "max_pool": Kind(settings=Window),
    "average_pool": Kind(settings=AverageWindow),
    "adaptive_max_pool": Kind(),
    "adaptive_average_pool": Kind(),
}


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
