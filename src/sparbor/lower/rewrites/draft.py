"""A program that is being rewritten: what computes each value, and what is known of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sparbor.lower.unpacked import UnpackedProgram
from sparbor.program.program import (
    Activation,
    Axes,
    ConstantArray,
    Dimensions,
    Operation,
    Order,
    ScaleShift,
    Settings,
    ValueType,
)


class Draft:
    """The operations so far, in order, and those that a rewrite appends."""

    def __init__(self, program: UnpackedProgram) -> None:
        self.program, self.values = program, list(program.values)
        self.weights = dict(program.weights)
        self.operations: list[Operation] = []
        self._made: dict[int, Operation] = {}
        self.uses = Counter(value for operation in program.operations for value in operation.inputs)
        self.uses.update(port.value for port in program.outputs)

    def keep(self, operation: Operation) -> None:
        """The next operation."""
        self.operations.append(operation)
        self._made[operation.output] = operation

    def drop(self, operation: Operation) -> None:
        """Forget the last operation that was kept."""
        assert self.operations.pop() is operation
        del self._made[operation.output]

    def result(self) -> UnpackedProgram:
        """The program as it has become; operations that nobody needs any more are still there."""
        return replace(self.program, values=tuple(self.values), operations=tuple(self.operations), weights=self.weights)

    def shape(self, value: int) -> Dimensions:
        return self.values[value].shape

    def dtype(self, value: int) -> str:
        """One of :data:`sparbor.program.program.DTYPES`."""
        return self.values[value].type

    # What is there.

    def made_by(self, value: int, *kinds: str) -> Operation | None:
        """The operation that computes the value, if it is of one of these kinds and does nothing else besides."""
        made = self._made.get(value)
        plain = made is not None and (made.activation is None or made.kind == "activation")
        return made if made is not None and plain and made.kind in kinds else None

    def activation(self, value: int, *names: str) -> int | None:
        """What the value is one of these activations of."""
        made = self.made_by(value, "activation")
        if made is None or made.activation is None or made.activation.name not in names:
            return None
        return made.inputs[0]

    def unreshaped(self, value: int) -> int:
        """The value before it was given another shape."""
        while (made := self.made_by(value, "reshape")) is not None:
            (value,) = made.inputs
        return value

    def number(self, value: int) -> float | None:
        """What all numbers of the value are in every call; None if that is not known."""
        while (made := self.made_by(value, "reshape", "expand")) is not None:
            (value,) = made.inputs
        if (made := self.made_by(value, "constant")) is None:
            return None
        array = self.weights[str(made.layer)]
        assert isinstance(array, ConstantArray)
        first = array.values.reshape(-1)[:1]
        return float(first[0]) if first.size and (array.values == first).all() else None

    def scaled(self, value: int) -> tuple[int, float, float] | None:
        """The value x · scale + shift as x, scale and shift, if those are one number each."""
        if (made := self.made_by(value, "scale_shift")) is not None:
            by = self.weights[str(made.layer)]
            assert isinstance(by, ScaleShift)
            scale, shift = by.scale[0], by.shift[0]
            even = (by.scale == scale).all() and (by.shift == shift).all()
            return (made.inputs[0], float(scale), float(shift)) if even else None
        if (made := self.made_by(value, "add", "subtract", "multiply", "divide")) is None:
            return None
        x, other = made.inputs
        by_other = self.number(other)
        if by_other is None and made.kind in ("add", "multiply"):
            x, by_other = other, self.number(x)
        if by_other is None or self.shape(x) != self.shape(value) or (made.kind == "divide" and by_other == 0):
            return None
        return {
            "add": (x, 1.0, by_other),
            "subtract": (x, 1.0, -by_other),
            "multiply": (x, by_other, 0.0),
            "divide": (x, 1 / by_other if by_other else 0.0, 0.0),
        }[made.kind]

    def mean_of(self, value: int) -> int | None:
        """What the value is the mean of, over the last dimension, which stays with a size of 1."""
        value = self.unreshaped(value)
        if (made := self.made_by(value, "reduce_mean")) is None:
            return None
        (x,) = made.inputs
        return x if made.settings_as(Axes).axes == (len(self.shape(x)) - 1,) else None

    # What is appended.

    def append(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Dimensions,
        settings: Settings | None = None,
        dtype: str = "f32",
        activation: Activation | None = None,
        layer: str | None = None,
    ) -> int:
        """A new value, computed from the inputs."""
        self.values.append(ValueType(dtype, shape))
        output = len(self.values) - 1
        self.uses.update(inputs)
        self.keep(Operation(kind, tuple(inputs), output, layer, activation, settings))
        return output

    def reshaped(self, value: int, shape: Dimensions) -> int:
        """The value in another shape; the same if that is its own."""
        return value if self.shape(value) == shape else self.append("reshape", [value], shape, dtype=self.dtype(value))

    def turned(self, value: int) -> int:
        """The value with its last two dimensions the other way round: what was turned so before is turned back."""
        shape = self.shape(value)
        order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        if (made := self.made_by(value, "permute")) is not None:
            before = made.settings_as(Order).order
            (value,) = made.inputs
            order = tuple(before[each] for each in order)
        if order == tuple(range(len(order))):
            return value
        own = self.shape(value)
        return self.append("permute", [value], tuple(own[each] for each in order), Order(order), self.dtype(value))

    def constant(self, array: ConstantArray, dtype: str) -> int:
        """These numbers in every call."""
        name = "constant"
        while name in self.weights:
            name += "_"
        self.weights[name] = array
        return self.append("constant", [], tuple(array.values.shape), dtype=dtype, layer=name)
