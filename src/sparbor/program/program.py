"""The program: what a model is lowered to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.packing.dense_weights import DenseLayer, DenseWeights
from sparbor.packing.filters import Filters
from sparbor.packing.quads import QuadLayer
from sparbor.packing.slots import Floats, PackedSynapses, SparseLayer
from sparbor.packing.tables import Table
from sparbor.program.byte_input import ByteInput
from sparbor.program.windows import AverageWindow, Shape, Window

Array: TypeAlias = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Activation:
    """One of :data:`sparbor.ops.activations.ACTIVATIONS`, with its parameters in their order there."""

    name: str
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class ScaleShift:
    """y = x · scale + shift, a number of each for every index along the axis that the operation names."""

    scale: Floats
    shift: Floats

    def then(self, by: ScaleShift) -> ScaleShift:
        """Both in one."""
        return ScaleShift(self.scale * by.scale, self.shift * by.scale + by.shift)

    def arrays(self) -> dict[str, Array]:
        return {"scale": self.scale, "shift": self.shift}


@dataclass(frozen=True)
class ConstantArray:
    """What an operation "constant" returns: numbers of any type that values have, and of any shape."""

    values: Array

    def arrays(self) -> dict[str, Array]:
        return {"values": self.values}


@dataclass(frozen=True)
class Normalisation:
    """Of a norm: what is added to the variance, or to the mean of the squares, before its root divides."""

    epsilon: float


@dataclass(frozen=True)
class GroupNormalisation(Normalisation):
    """Of a group norm: how many groups the channels are in, too."""

    groups: int


@dataclass(frozen=True)
class Axis:
    """The dimension that an operation goes along; the batch is dimension 0."""

    axis: int


@dataclass(frozen=True)
class Axes:
    """The dimensions that a reduction goes along, in order."""

    axes: tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """Of numbers at equal distances: the first, and what is between two."""

    start: int
    step: int


@dataclass(frozen=True)
class Padding:
    """How many zeros come before and after each dimension."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Resizing:
    """Of planes that become larger or smaller: how far apart two pixels of the output are in the input.

    A step of 0 is the input's size by the output's. With `corners` the corners' centres stay where they are, whatever
    the steps are; without, the outer edges do.
    """

    step_down: float
    step_across: float
    corners: bool


@dataclass(frozen=True)
class NearestResizing:
    """The same by nearest pixels: with `centers`, a pixel is where its centre is, without where it begins."""

    step_down: float
    step_across: float
    centers: bool


@dataclass(frozen=True)
class Order:
    """Of a permutation: which dimension of the input each of the output is."""

    order: tuple[int, ...]


@dataclass(frozen=True)
class Slice(Axis):
    """Every `step`-th index along the axis from `start` on, which is counted from the end if it is negative."""

    start: int
    step: int


@dataclass(frozen=True)
class Attention:
    """softmax(q kᵀ · scale + mask) v; `causal`: the newest query sees all keys, each one before it one fewer."""

    scale: float
    causal: bool


@dataclass(frozen=True)
class Recurrence:
    """Of a recurrent layer: whether it goes through a sequence from the last step to the first."""

    reverse: bool


@dataclass(frozen=True)
class ElmanRecurrence(Recurrence):
    """Of the one without gates: whether a state is the ReLU of a sum too, and not its tanh."""

    relu: bool


Settings: TypeAlias = (
    Window
    | AverageWindow
    | Normalisation
    | GroupNormalisation
    | Axis
    | Axes
    | Order
    | Slice
    | Range
    | Padding
    | Resizing
    | NearestResizing
    | Attention
    | Recurrence
    | ElmanRecurrence
)
_Settings = TypeVar("_Settings", bound=Settings)
Matrix: TypeAlias = SparseLayer | QuadLayer | DenseLayer | Filters | Table
Weights: TypeAlias = Matrix | ScaleShift | ConstantArray
# A number; the name of a size, such as "batch"; or what is computed of two: ("*", 64, "batch"), with "+", "-" or "//".
Dimension: TypeAlias = "int | str | tuple[str, Dimension, Dimension]"
Dimensions: TypeAlias = "tuple[Dimension, ...]"


def plus(one: Dimension, other: Dimension) -> Dimension:
    """The sum of two dimensions."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return other if one == 0 else one if other == 0 else ("+", one, other)


def times(one: Dimension, other: Dimension) -> Dimension:
    """The product of two dimensions."""
    if isinstance(one, int) and isinstance(other, int):
        return one * other
    return other if one == 1 else one if other == 1 else ("*", one, other)


def is_matrix(layer: Weights | None) -> TypeGuard[Matrix]:
    """Whether it has weights in rows and columns."""
    return isinstance(layer, (PackedSynapses, DenseWeights))


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

    def settings_as(self, kind: type[_Settings]) -> _Settings:
        """Its settings, which operations of its kind have of this class."""
        assert isinstance(self.settings, kind)
        return self.settings


# NumPy's and PyTorch's names of the types of numbers.
DTYPES: Mapping[str, str] = dict(f32="float32", u8="uint8", i8="int8", i32="int32", i64="int64", bool="bool")


@dataclass(frozen=True)
class Quantization:
    """What a byte stands for: the number (byte − zero) · step. The step is rounded to a float of 32 bits."""

    step: float
    zero: int


@dataclass(frozen=True)
class ValueType:
    """The type of a value's numbers, one of :data:`DTYPES`, and its shape; of bytes, perhaps what they stand for."""

    type: str
    shape: tuple[Dimension, ...]
    quantization: Quantization | None = None


@dataclass(frozen=True)
class Port:
    """A value that is given or returned, by its name."""

    name: str
    value: int


@dataclass(frozen=True)
class Program:
    """Operations in order over numbered values.

    `states` are pairs of an output and the input that a session gives it to in its next call, the input first.
    `sizes` are some that it can run with, by name, 1 where it has none: it is checked at those when it is loaded.
    `notes` say, by a layer's name, why it is stored as it is; nothing but people reads them.
    """

    values: tuple[ValueType, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    layers: Mapping[str, Weights] = field(default_factory=dict)
    byte_input: ByteInput | None = None
    states: tuple[tuple[str, str], ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_items(
        cls,
        shapes: Sequence[Shape],
        input: int,
        output: int,
        operations: tuple[Operation, ...],
        layers: Mapping[str, Weights] | None = None,
        byte_input: ByteInput | None = None,
    ) -> Program:
        """One float32 value in and one out; `shapes` are those of one item of the batch."""
        values = tuple(ValueType("f32", ("batch", *shape)) for shape in shapes)
        ports = (Port("input", input),), (Port("output", output),)
        return cls(values, *ports, operations, {} if layers is None else layers, byte_input)

    @cached_property
    def items(self) -> tuple[Shape, ...]:
        """The shape of one item of each value, as :meth:`item` says it."""
        return tuple(map(self.item, range(len(self.values))))

    def item(self, value: int) -> Shape:
        """The shape of one item of a value.

        Raises:
            ArgumentError: the batch is not its first dimension, or its numbers are no floats, nor bytes that stand for
                some.
        """
        kind = self.values[value]
        first, *item = kind.shape or (None,)
        numbers = kind.type == "f32" or kind.quantization is not None
        if first != "batch" or not numbers or not all(isinstance(each, int) for each in item):
            raise ArgumentError(
                f"a value of type {kind.type} has shape ({', '.join(map(str, kind.shape))}): this works with programs"
                " whose values are all f32 or quantized, the batch their first dimension and numbers the others"
            )
        return tuple(each for each in item if isinstance(each, int))

    @property
    def input(self) -> int:
        """The one input."""
        return self._only(self.inputs, "input")

    @property
    def output(self) -> int:
        """The one output."""
        return self._only(self.outputs, "output")

    def _only(self, ports: tuple[Port, ...], what: str) -> int:
        if len(ports) != 1:
            names = ", ".join(port.name for port in ports)
            raise ArgumentError(f"the program has {len(ports)} {what}s, {names}: this works with one")
        return ports[0].value

    @property
    def weight_bytes(self) -> int:
        return sum(map(stored_bytes, self.layers.values()))
