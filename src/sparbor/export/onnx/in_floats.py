"""What computes with bytes as what computes with floats, between nodes that make floats of bytes and bytes of floats.

That is how ONNX writes quantized models: a runtime takes such a group of nodes together and computes in whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sparbor.program.program import Activation, Axis, Operation, Program, Settings, ValueType

# Of an operation on bytes, the one on floats.
_ON_FLOATS: Mapping[str, str] = {
    "quantized_convolution": "convolution",
    "quantized_max_pool": "max_pool",
    "quantized_average_pool": "average_pool",
    "quantized_add": "add",
    "quantized_concat": "concat",
    "quantized_map": "activation",
    "quantized_scale": "multiply",
}


def in_floats(program: Program) -> Program:
    """The program, but for its operations on bytes; it is for exporting, not for the engine."""
    written = _Written(program, list(program.values))
    for operation in program.operations:
        kind = _ON_FLOATS.get(operation.kind)
        if kind is None:
            written.operations.append(operation)
        else:
            written.add(operation, kind)
    return replace(program, values=tuple(written.values), operations=tuple(written.operations))


@dataclass
class _Written:
    """Values and operations so far; `floats` are the values that are the numbers of others."""

    program: Program
    values: list[ValueType]
    operations: list[Operation] = field(default_factory=list)
    floats: dict[int, int] = field(default_factory=dict)

    def add(self, operation: Operation, kind: str) -> None:
        """Append the operation as this kind, and what makes bytes of its result."""
        x, *others = (self._as_floats(value) for value in operation.inputs)
        layer, activation, settings = operation.layer, operation.activation, operation.settings
        if kind == "convolution" and others:  # a sum that ends it
            x = self._append(kind, (x,), operation.output, layer, None, settings)
            kind, layer, settings = "add", None, None
        if kind == "concat":
            settings = Axis(1)
        result = self._append(kind, (x, *others), operation.output, layer, activation, settings)
        self.operations.append(Operation("quantize", (result,), operation.output))

    def _as_floats(self, value: int) -> int:
        if self.values[value].quantization is None:
            return value
        if value not in self.floats:
            self.floats[value] = self._append("dequantize", (value,), value)
        return self.floats[value]

    def _append(
        self,
        kind: str,
        inputs: tuple[int, ...],
        like: int,
        layer: str | None = None,
        activation: Activation | None = None,
        settings: Settings | None = None,
    ) -> int:
        """The number of a new value of floats, shaped as another."""
        self.values.append(ValueType("f32", self.values[like].shape))
        output = len(self.values) - 1
        self.operations.append(Operation(kind, inputs, output, layer, activation, settings))
        return output
