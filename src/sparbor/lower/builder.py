"""A program that grows: values, the operations that compute them, and weights, in order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.lower.unpacked import LayerWeights, TableWeights
from sparbor.ops.arguments import Argument, Constant, Value
from sparbor.program.program import (
    DTYPES,
    Activation,
    ConstantArray,
    Dimensions,
    Operation,
    Order,
    ScaleShift,
    Settings,
    ValueType,
)
from sparbor.topology.matrix import to_matrix

# The program's names of NumPy's and PyTorch's types; of complex numbers that of both parts.
TYPES = {**{dtype: name for name, dtype in DTYPES.items()}, "complex64": "f32"}
_SMALL = 64  # numbers of a constant that graphs may have again and again


class Builder:
    """What operations are appended to; what each of PyTorch's becomes, :mod:`sparbor.ops` says."""

    def __init__(self) -> None:
        self.values: list[ValueType] = []
        self.operations: list[Operation] = []
        self.weights: dict[str, LayerWeights | ScaleShift | ConstantArray | TableWeights] = {}
        self._constants: dict[Any, Value] = {}  # small ones

    def shape(self, value: Value) -> Dimensions:
        return self.values[value].shape

    def dtype(self, value: Value) -> str:
        """One of :data:`sparbor.program.program.DTYPES`."""
        return self.values[value].type

    def append(
        self,
        kind: str,
        inputs: tuple[Value, ...],
        shape: Dimensions,
        *,
        dtype: str = "f32",
        layer: str | None = None,
        activation: Activation | None = None,
        settings: Settings | None = None,
    ) -> Value:
        """A new value of this shape, computed from the inputs."""
        output = self.new_value(ValueType(dtype, shape))
        numbers = tuple(int(value) for value in inputs)
        self.operations.append(Operation(kind, numbers, int(output), layer, activation, settings))
        return output

    def constant(self, numbers: npt.NDArray[Any], name: str = "constant") -> Value:
        """A value that is these numbers in every call; floats become float32."""
        numbers = np.asarray(numbers, np.float32 if np.issubdtype(numbers.dtype, np.floating) else numbers.dtype, "C")
        small = numbers.size <= _SMALL and (numbers.dtype.str, numbers.shape, numbers.tobytes())
        if small and small in self._constants:
            return self._constants[small]
        name = self.unique(name)
        self.weights[name] = ConstantArray(numbers)
        value = self.append("constant", (), numbers.shape, dtype=TYPES[str(numbers.dtype)], layer=name)
        if small:
            self._constants[small] = value
        return value

    def reshaped(self, value: Value, shape: Dimensions) -> Value:
        """The value in another shape; the same if that is its own."""
        if self.shape(value) == shape:
            return value
        return self.append("reshape", (value,), shape, dtype=self.dtype(value))

    def permuted(self, value: Value, order: Sequence[int]) -> Value:
        """The value with its dimensions in another order."""
        shape, order = self.shape(value), tuple(each % max(1, len(order)) for each in order)
        if order == tuple(range(len(shape))):
            return value
        turned = tuple(shape[each] for each in order)
        return self.append("permute", (value,), turned, dtype=self.dtype(value), settings=Order(order))

    def expanded(self, value: Value, shape: Dimensions) -> Value:
        """The value repeated along dimensions of 1, and along new ones before its own."""
        own = self.shape(value)
        value = self.reshaped(value, (*(1,) * (len(shape) - len(own)), *own))
        return value if self.shape(value) == shape else self.append("expand", (value,), shape, dtype=self.dtype(value))

    def cast(self, value: Value, dtype: str) -> Value:
        """The value in another type of numbers; the same if that is its own."""
        if self.dtype(value) == dtype:
            return value
        return self.append("cast", (value,), self.shape(value), dtype=dtype)

    def made_by(self, value: Value) -> str:
        """The kind of operation that computes the value; empty for an input."""
        return "" if (made := self.maker(value)) is None else made.kind

    def maker(self, value: int) -> Operation | None:
        """The operation that computes the value; None for an input."""
        return next((each for each in reversed(self.operations) if each.output == value), None)

    def before_repeating(self, value: Value, axis: int) -> Value | None:
        """What has each index of a dimension once, if the value has it several times, one beside the other."""
        kinds, source = list[str](), int(value)
        while len(kinds) < 3 and (made := self.maker(source)) is not None:
            kinds.append(made.kind)
            between, (source, *_) = source, made.inputs or (source,)
            if made.kind == "expand":
                repeated, once = self.values[between].shape, self.values[source].shape
        if kinds != ["reshape", "expand", "reshape"]:
            return None
        shape = self.values[source].shape
        alone = (*shape[: axis + 1], 1, *shape[axis + 1 :])
        times = repeated[axis + 1]
        beside = (*shape[: axis + 1], times, *shape[axis + 1 :])
        size = shape[axis]
        if once != alone or repeated != beside or not (isinstance(size, int) and isinstance(times, int)):
            return None
        return Value(source) if self.shape(value) == (*shape[:axis], size * times, *shape[axis + 1 :]) else None

    def layer_weights(
        self, name: str, weight: Constant, bias: Argument, groups: int = 1, transposed: bool = False
    ) -> None:
        """Keep a layer's weight and mask as matrices; of a convolution, whose kernels become rows, with its groups."""
        mask = weight.mask
        kept = weight.tensor if mask is None else weight.tensor.masked_fill(~mask, 0)
        if unusable := int((~kept.isfinite()).count_nonzero()):
            raise ArgumentError(
                f"layer {name!r}: {unusable} of its {kept.numel()} weights are NaN or infinite, so training has"
                " diverged: go back to an earlier checkpoint, and lower the learning rate or clip gradients"
            )
        if mask is not None and (stray := int(weight.tensor.masked_fill(mask, 0).count_nonzero())):
            raise ArgumentError(
                f"layer {name!r}: {stray} weights that its mask drops are not zero, and the model computes with them: "
                "call apply_mask() on the layer"
            )
        matrix = partial(to_matrix, groups=groups, transposed=transposed)
        self.weights[name] = LayerWeights(
            matrix(weight.tensor), None if bias is None else bias.tensor, None if mask is None else matrix(mask)
        )

    def keep_table(self, name: str, rows: npt.NDArray[np.float32]) -> None:
        """Keep the rows that an embedding looks up."""
        self.weights[name] = TableWeights(rows)

    def unique(self, wanted: str) -> str:
        """The name, numbered if another layer has it."""
        name, count = wanted, 2
        while name in self.weights:
            name, count = f"{wanted}:{count}", count + 1
        return name

    def new_value(self, value: ValueType) -> Value:
        self.values.append(value)
        return Value(len(self.values) - 1)
