"""A program whose layers are still to be packed: sparse or dense, exact or in 16 bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sparbor.errors import ArgumentError
from sparbor.lowering.weights import LayerWeights
from sparbor.packing.slots import Precision
from sparbor.program.program import Affine, Operation, Program, Weights
from sparbor.program.windows import Shape, Window, planes_of


@dataclass(frozen=True)
class UnpackedProgram:
    """The program; `shapes` are those of one item, `weights` by the names that operations have for their layers."""

    shapes: tuple[Shape, ...]
    input: int
    output: int
    operations: tuple[Operation, ...]
    weights: Mapping[str, LayerWeights | Affine]

    def packed(self, batch: int, precision: Precision) -> Program:
        """The program, each layer sparse or dense as is faster at this batch size.

        Raises ArgumentError for a layer that cannot be packed.
        """
        layers: dict[str, Weights] = {}
        for operation in self.operations:
            if operation.layer is None:
                continue
            try:
                layers[operation.layer] = self._packed(operation, batch, precision)
            except ArgumentError as error:
                raise ArgumentError(f"layer {operation.layer!r}: {error}") from None
        return Program(self.shapes, self.input, self.output, self.operations, layers)

    def _packed(self, operation: Operation, batch: int, precision: Precision) -> Weights:
        weights, shape = self.weights[str(operation.layer)], self.shapes[operation.output]
        if isinstance(weights, Affine):
            return weights
        if isinstance(operation.settings, Window):
            x = planes_of(self.shapes[operation.inputs[0]])
            return weights.packed_convolution(operation.settings, x, planes_of(shape), precision)
        return weights.packed_linear(batch * math.prod(shape[:-1]), precision)
