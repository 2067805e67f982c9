"""A program as one whose values are bytes where that was chosen, with the conversions that it needs between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sparbor.program.program import Activation, Operation, Program, Quantization, Settings, ValueType, Weights
from sparbor.program.windows import AverageWindow, Window
from sparbor.quantization.choice import Wiring, even_windows


@dataclass(frozen=True)
class Plan:
    """Which values of a program are to be bytes, and so which of its operations compute with bytes."""

    wiring: Wiring
    in_bytes: frozenset[int]

    @property
    def program(self) -> Program:
        """The one that is planned for."""
        return self.wiring.program

    def before(self, operation: Operation) -> Operation | None:
        """The convolution that can compute what follows it as it ends: nobody else reads what it computes.

        That is a sum, whose other input it adds. Where a scale of channels becomes a convolution, it is an activation.
        """
        kind = {"add": "convolution", "activation": "scale_shift"}.get(operation.kind)
        if kind is None or operation.output not in self.in_bytes:
            return None
        made = (self.wiring.made.get(value) for value in operation.inputs)
        found = [each for each in made if each is not None and each.kind == kind and self._may_go_on(each)]
        return max(found, key=lambda each: each.output, default=None)  # the later one: its bytes are in the cache

    def _may_go_on(self, operation: Operation) -> bool:
        value = operation.output
        alone = len(self.wiring.readers[value]) == 1 and value not in self.wiring.answers
        return value in self.in_bytes and operation.activation is None and alone

    def steps(self) -> list[tuple[Operation, Operation | None]]:
        """The operations in order, each with the convolution before that computes it, which then is no step itself."""
        before = {each.output: self.before(each) for each in self.program.operations}
        joined = {each.output for each in before.values() if each is not None}
        return [(each, before[each.output]) for each in self.program.operations if each.output not in joined]

    def read_by(self, operation: Operation, convolution: Operation) -> tuple[int, ...]:
        """What a convolution reads that computes an operation after it: the planes, and what it adds to its result."""
        return (*convolution.inputs, *(value for value in operation.inputs if value != convolution.output))

    def rounded_values(self) -> list[int]:
        """All values that are bytes somewhere, each with a step and a zero of its own."""
        values = dict[int, None]()
        for operation, convolution in self.steps():
            if operation.output in self.in_bytes:
                values |= dict.fromkeys((*self.wiring.planes(operation), operation.output))
                values |= dict.fromkeys(() if convolution is None else convolution.inputs)
                if convolution is not None:
                    del values[convolution.output]
        return list(dict.fromkeys(map(self._rounded_as, values)))

    def quantization(self, value: int, known: Mapping[int, Quantization]) -> Quantization:
        """That of a value as bytes, by those of the rounded values."""
        return known[self._rounded_as(value)]

    def _rounded_as(self, value: int) -> int:
        """The value whose step and zero this one has.

        A max pool's are those of its input. What is only read to be concatenated has the whole's, and is not rounded
        twice.
        """
        while True:
            made, readers = self.wiring.made.get(value), self.wiring.readers[value]
            if made is not None and made.kind == "max_pool" and value in self.in_bytes:
                value = made.inputs[0]
            elif len(readers) == 1 and readers[0].kind == "concat" and readers[0].output in self.in_bytes:
                value = readers[0].output
            else:
                return value


class Draft:
    """A program as it is written: for each value of the one before it, which value has its floats, which its bytes."""

    def __init__(self, plan: Plan, known: Mapping[int, Quantization], packed: Mapping[str, Weights]) -> None:
        self.plan, self._known, self._packed = plan, known, packed
        self.values: list[ValueType] = [plan.program.values[port.value] for port in plan.program.inputs]
        self.operations: list[Operation] = []
        self.layers: dict[str, Weights] = {}
        self.floats = {port.value: number for number, port in enumerate(plan.program.inputs)}
        self.bytes: dict[int, int] = {}

    def as_bytes(self, value: int) -> int:
        """The value as bytes, rounded here if it was not."""
        if value not in self.bytes:
            self.bytes[value] = self._append("quantize", [self.floats[value]], self._bytes_type(value))
        return self.bytes[value]

    def as_floats(self, value: int) -> int:
        """The value as floats, or of the type that it has."""
        if value not in self.floats:
            self.floats[value] = self.dequantized(self.bytes[value])
        return self.floats[value]

    def dequantized(self, number: int) -> int:
        """The floats of a value of bytes that was appended."""
        return self._append("dequantize", [number], ValueType("f32", self.values[number].shape))

    def keep(self, operation: Operation, layers: Mapping[str, Weights], name: str | None = None) -> int:
        """Append the operation as it is, its layer from there, and by another name if one is given."""
        name, layer = name or operation.layer, operation.layer
        inputs = [self.as_floats(value) for value in operation.inputs]
        kind = self.plan.program.values[operation.output]
        weights = None if layer is None else layers[layer]
        return self._append(operation.kind, inputs, kind, name, weights, operation.activation, operation.settings)

    def in_bytes(self, operation: Operation, convolution: Operation | None) -> int:
        """Append the operation in bytes, as the convolution before that computes it, if there is one."""
        if convolution is not None:
            return self._convolution(convolution, self.plan.read_by(operation, convolution), operation)
        if operation.kind in ("convolution", "scale_shift"):
            return self._convolution(operation, operation.inputs, operation)
        inputs = [self.as_bytes(value) for value in self.plan.wiring.planes(operation)]
        if operation.kind == "multiply":
            gate = self.plan.wiring.gate(operation)
            assert gate is not None
            inputs.append(self.as_floats(gate[1]))
        kind, settings_of = _IN_BYTES[operation.kind]
        y, settings = self._bytes_type(operation.output), settings_of(self.plan.wiring, operation)
        return self._append(kind, inputs, y, activation=operation.activation, settings=settings)

    def _convolution(self, operation: Operation, inputs: Sequence[int], ending: Operation) -> int:
        """With the activation and the output of the operation that it ends with."""
        assert operation.layer is not None
        layer = self._packed[operation.layer]
        settings = operation.settings
        if operation.kind == "scale_shift":
            settings = Window((1, 1), groups=self.plan.wiring.channels(operation.output))
        read = [self.as_bytes(value) for value in inputs]
        y = self._bytes_type(ending.output)
        return self._append("quantized_convolution", read, y, operation.layer, layer, ending.activation, settings)

    def _bytes_type(self, value: int) -> ValueType:
        shape = self.plan.program.values[value].shape
        return ValueType("u8", shape, self.plan.quantization(value, self._known))

    def _append(
        self,
        kind: str,
        inputs: Sequence[int],
        result: ValueType,
        name: str | None = None,
        weights: Weights | None = None,
        activation: Activation | None = None,
        settings: Settings | None = None,
    ) -> int:
        self.values.append(result)
        output = len(self.values) - 1
        self.operations.append(Operation(kind, tuple(inputs), output, name, activation, settings))
        if name is not None and weights is not None:
            self.layers[name] = weights
        return output


def _adaptive_pool(wiring: Wiring, operation: Operation) -> AverageWindow:
    size = even_windows(wiring, operation)
    assert size is not None  # or it would not have been chosen
    return AverageWindow(size, size, groups=wiring.channels(operation.output))


def _none(_: Wiring, __: Operation) -> None:
    """Planes are concatenated by their channels, which need not be said."""


def _the_same(_: Wiring, operation: Operation) -> Settings | None:
    return operation.settings


# What an operation is called that computes with bytes, and its settings then; convolutions have more to them.
_IN_BYTES: Mapping[str, tuple[str, Callable[[Wiring, Operation], Settings | None]]] = {
    "max_pool": ("quantized_max_pool", _the_same),
    "average_pool": ("quantized_average_pool", _the_same),
    "adaptive_average_pool": ("quantized_average_pool", _adaptive_pool),
    "activation": ("quantized_map", _the_same),
    "add": ("quantized_add", _the_same),
    "concat": ("quantized_concat", _none),
    "multiply": ("quantized_scale", _the_same),
}


def rewritten(
    plan: Plan, known: Mapping[int, Quantization], packed: Mapping[str, Weights], others: Mapping[str, Weights]
) -> Program:
    """The program with bytes where they were chosen.

    `known` is the quantization of each of the plan's rounded values, `packed` has the layers of what computes with
    bytes, and `others` all others, by their names.
    """
    draft = Draft(plan, known, packed)
    for operation, convolution in plan.steps():
        if operation.output in plan.in_bytes:
            draft.bytes[operation.output] = draft.in_bytes(operation, convolution)
        else:
            draft.floats[operation.output] = draft.keep(operation, others)
    program = plan.program
    inputs = tuple(replace(port, value=draft.floats[port.value]) for port in program.inputs)
    outputs = tuple(replace(port, value=draft.as_floats(port.value)) for port in program.outputs)
    return replace(
        program,
        values=tuple(draft.values),
        inputs=inputs,
        outputs=outputs,
        operations=tuple(draft.operations),
        layers=draft.layers,
    )
