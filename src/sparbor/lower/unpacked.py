"""A program whose layers are still to be packed: sparse or dense, exact or in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sparbor.errors import ArgumentError
from sparbor.lower.sizes import BATCH
from sparbor.ops.arguments import as_numpy
from sparbor.packing.dense_weights import DenseLayer, pack_dense
from sparbor.packing.filters import Filters, pack_by_groups, pack_filters
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.slots import FINITE_WANTED, Encoding, Floats, SparseLayer, not_finite, pack
from sparbor.packing.tables import Table, pack_table
from sparbor.packing.whole_numbers import TooLargeSumError
from sparbor.program.dimensions import size_at
from sparbor.program.program import (
    ConstantArray,
    Operation,
    Port,
    Program,
    ScaleShift,
    ValueType,
    Weights,
    stored_bytes,
)
from sparbor.program.windows import Window
from sparbor.progress import tell

# From this share of zeros on, a plain layer's zeros are taken for dropped weights and not for weights.
_SPARSE_BY_ZEROS = 0.3


class LayerWeights:
    """Of a linear layer or a convolution: a matrix (outputs, fan_in), its mask, and a bias."""

    def __init__(self, matrix: Tensor, bias: Tensor | None, mask: Tensor | None) -> None:
        self.matrix = matrix.detach().cpu()
        self.bias = None if bias is None else bias.detach().cpu()
        if mask is not None:
            self.mask = mask.detach().cpu().bool().reshape(self.matrix.shape)
        elif torch.count_nonzero(self.matrix) <= (1 - _SPARSE_BY_ZEROS) * self.matrix.numel():
            self.mask = self.matrix != 0
        else:
            self.mask = torch.ones_like(self.matrix, dtype=torch.bool)

    def then(self, by: ScaleShift) -> LayerWeights:
        """Those that do what the batch norm that follows does too."""
        scale, shift = torch.from_numpy(by.scale), torch.from_numpy(by.shift)
        bias = shift if self.bias is None else self.bias.double() * scale + shift
        return LayerWeights(self.matrix.double() * scale[:, None], bias, self.mask)

    def packed(self, window: Window | None, encoding: Encoding) -> SparseLayer | QuadLayer | DenseLayer | Filters:
        """Sparse or dense, whichever takes fewer bytes; `window` is that of a convolution.

        Rows alone are multiplied in 8 bits: convolutions have 16 then.
        """
        weight, mask = as_numpy(self.matrix), self.mask.numpy()
        bias = None if self.bias is None else as_numpy(self.bias)
        kept = np.where(mask, weight, np.float32(0))
        sparse: SparseLayer | QuadLayer
        dense: DenseLayer | Filters
        if window is not None:
            encoding = _of_slots(encoding)
            sparse = pack_by_groups(weight, mask, bias, window.groups, encoding)
            dense = pack_filters(kept, bias, encoding)
        else:
            sparse = pack_quads(weight, mask, bias) if encoding is Encoding.INT8 else pack(weight, mask, bias, encoding)
            dense = pack_dense(kept, bias, encoding)
        return sparse if stored_bytes(sparse) < stored_bytes(dense) else dense


def _of_slots(encoding: Encoding) -> Encoding:
    """How weights are stored that cannot have 8 bits."""
    return Encoding.WORD16 if encoding is Encoding.INT8 else encoding


@dataclass(frozen=True)
class TableWeights:
    """Of an embedding: a row of features for each id."""

    rows: Floats

    def stored(self, encoding: Encoding) -> Table:
        """As floats, or as halves where weights are rounded."""
        return pack_table(self.rows, None, _of_slots(encoding))


@dataclass(frozen=True)
class UnpackedProgram:
    """The program; `weights` are by the names that operations have for their layers."""

    values: tuple[ValueType, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    weights: Mapping[str, LayerWeights | ScaleShift | ConstantArray | TableWeights]
    states: tuple[tuple[str, str], ...] = ()

    def for_one_item(self, example: Mapping[str, Tensor]) -> UnpackedProgram:
        """The program for one item of the example alone: no dimension has a name."""
        sizes = self.sizes_of(example)
        values = (replace(value, shape=tuple(size_at(each, sizes) for each in value.shape)) for value in self.values)
        return replace(self, values=tuple(values))

    def axes_of_sizes(self) -> dict[str, list[tuple[str, int]]]:
        """By the name of each size, the inputs and their dimensions that have it."""
        axes: dict[str, list[tuple[str, int]]] = {}
        for port in self.inputs:
            for axis, dimension in enumerate(self.values[port.value].shape):
                if isinstance(dimension, str):
                    axes.setdefault(dimension, []).append((port.name, axis))
        return axes

    def sizes_of(self, example: Mapping[str, Tensor]) -> dict[str, int]:
        """The sizes that one item of the example has, by name."""
        return {
            size: 1 if size == BATCH else example[places[0][0]].shape[places[0][1]]
            for size, places in self.axes_of_sizes().items()
        }

    def packed(self, encoding: Encoding) -> Program:
        """The program, each layer stored sparse or dense, whichever takes fewer bytes.

        A layer whose sums may need more than 32 bits with 8-bit weights has 16, and a note that says so. Raises
        ArgumentError for a layer that cannot be packed.
        """
        layers: dict[str, Weights] = {}
        notes: dict[str, str] = {}
        with_layer = [operation for operation in self.operations if operation.layer is not None]
        for operation in with_layer:
            name = str(operation.layer)
            tell(f"packs {name}", len(layers), len(with_layer))
            try:
                layers[name] = _packed(self.weights[name], operation, encoding)
            except TooLargeSumError as error:
                layers[name] = _packed(self.weights[name], operation, Encoding.WORD16)
                notes[name] = f"no 8 bits: {error.fault}"
            except ArgumentError as error:
                raise ArgumentError(f"layer {name!r}: {error}") from None
        return Program(self.values, self.inputs, self.outputs, self.operations, layers, states=self.states, notes=notes)


def _packed(
    weights: LayerWeights | ScaleShift | ConstantArray | TableWeights, operation: Operation, encoding: Encoding
) -> Weights:
    if isinstance(weights, LayerWeights):
        return weights.packed(operation.settings if isinstance(operation.settings, Window) else None, encoding)
    if isinstance(weights, TableWeights):
        return weights.stored(encoding)
    if isinstance(weights, ScaleShift) and (part := not_finite(weights.arrays())) is not None:
        raise ArgumentError(f"{part} holds NaN or infinity{FINITE_WANTED}")
    return weights
