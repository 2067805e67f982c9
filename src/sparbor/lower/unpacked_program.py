"""A program whose layers are still to be packed: sparse or dense, exact or in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparbor.errors import ArgumentError
from sparbor.lower.weights import LayerWeights
from sparbor.packing.slots import Encoding
from sparbor.program.program import Operation, Program, ScaleShift, Weights
from sparbor.program.windows import Shape, Window


@dataclass(frozen=True)
class UnpackedProgram:
    """The program; `shapes` are those of one item, `weights` by the names that operations have for their layers."""

    shapes: tuple[Shape, ...]
    input: int
    output: int
    operations: tuple[Operation, ...]
    weights: Mapping[str, LayerWeights | ScaleShift]

    def packed(self, encoding: Encoding) -> Program:
        """The program, each layer stored sparse or dense, whichever takes fewer bytes.

        Raises ArgumentError for a layer that cannot be packed.
        """
        layers: dict[str, Weights] = {}
        for operation in self.operations:
            if operation.layer is None:
                continue
            weights = self.weights[operation.layer]
            window = operation.settings if isinstance(operation.settings, Window) else None
            try:
                layers[operation.layer] = (
                    weights if isinstance(weights, ScaleShift) else weights.packed(window, encoding)
                )
            except ArgumentError as error:
                raise ArgumentError(f"layer {operation.layer!r}: {error}") from None
        return Program.of_items(self.shapes, self.input, self.output, self.operations, layers)
