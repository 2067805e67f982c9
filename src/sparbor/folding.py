"""What a lowered graph is made smaller by: batch norms and activations join the linear layer before them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparbor.errors import ArgumentError
from sparbor.packing import GROUP, Layer, Precision, SparseLayer, pack, pack_dense
from sparbor.program import Affine, Operation, Program, Shape
from sparbor.runtime import choose_kernel_set

# From this share of zeros on, a plain layer's zeros are taken for dropped weights and not for weights.
_SPARSE_BY_ZEROS = 0.3

# The share of its slots from which a layer is faster dense, for few rows and for many; see docs/kernels.md.
_CROSSOVER: Mapping[str, tuple[float, float]] = {
    "avx512": (0.8, 0.7),
    "avx2": (0.25, 0.45),
    "portable": (0.17, 0.9),
}
_MANY_ROWS = 6


class LinearWeights:
    """A linear layer's weights before they are packed."""

    def __init__(self, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> None:
        self.weight = weight.detach().cpu()
        self.bias = None if bias is None else bias.detach().cpu()
        if mask is not None:
            self.mask = mask.detach().cpu().bool().reshape(self.weight.shape)
        elif torch.count_nonzero(self.weight) <= (1 - _SPARSE_BY_ZEROS) * self.weight.numel():
            self.mask = self.weight != 0
        else:
            self.mask = torch.ones_like(self.weight, dtype=torch.bool)

    def then(self, affine: Affine) -> None:
        """Take in the batch norm that follows."""
        scale, shift = torch.from_numpy(affine.scale), torch.from_numpy(affine.shift)
        self.bias = shift if self.bias is None else self.bias.double() * scale + shift
        self.weight = self.weight.double() * scale[:, None]

    def packed(self, rows: int, precision: Precision) -> Layer:
        weight, mask = as_numpy(self.weight), self.mask.numpy()
        bias = None if self.bias is None else as_numpy(self.bias)
        sparse = pack(weight, mask, bias, precision)
        if dense_is_faster(sparse, rows):
            return pack_dense(np.where(mask, weight, np.float32(0)), bias, precision)
        return sparse


@dataclass(frozen=True)
class Lowered:
    """A program whose layers are still to be packed."""

    shapes: tuple[Shape, ...]
    input: int
    output: int
    operations: tuple[Operation, ...]
    weights: Mapping[str, LinearWeights | Affine]

    def packed(self, batch: int, precision: Precision) -> Program:
        """The program, each layer sparse or dense as is faster at this batch size."""
        layers: dict[str, Layer | Affine] = {}
        for operation in self.operations:
            if operation.layer is None:
                continue
            weights = self.weights[operation.layer]
            rows = batch * math.prod(self.shapes[operation.output][:-1])
            try:
                layers[operation.layer] = weights if isinstance(weights, Affine) else weights.packed(rows, precision)
            except ArgumentError as error:
                raise ArgumentError(f"layer {operation.layer!r}: {error}") from None
        return Program(self.shapes, self.input, self.output, self.operations, layers)


def dense_is_faster(layer: SparseLayer, rows: int) -> bool:
    """Whether the dense kernel would beat the sparse one on this machine, running so many rows at once."""
    few, many = _CROSSOVER[choose_kernel_set()]
    share = layer.topology.slots / (-(-layer.outputs // GROUP) * layer.fan_in)
    return share > (few if rows < _MANY_ROWS else many)


def fuse(operations: list[Operation], weights: Mapping[str, LinearWeights | Affine], output: int) -> list[Operation]:
    """Fold batch norms and activations into the linear layer before them, if nothing else reads it."""
    uses: dict[int, int] = {output: 1}
    for operation in operations:
        for value in operation.inputs:
            uses[value] = uses.get(value, 0) + 1
    fused: dict[int, Operation] = {}  # by output
    for operation in operations:
        before = fused.get(operation.inputs[0])
        if before is None or uses[before.output] > 1 or not _can_take_in(before, operation):
            fused[operation.output] = operation
            continue
        if operation.kind == "affine":
            _join(weights[str(before.layer)], weights[str(operation.layer)])
        del fused[before.output]
        fused[operation.output] = Operation(
            "linear", before.inputs, operation.output, before.layer, operation.activation
        )
    return list(fused.values())


def _join(linear: LinearWeights | Affine, affine: LinearWeights | Affine) -> None:
    assert isinstance(linear, LinearWeights)
    assert isinstance(affine, Affine)
    linear.then(affine)


def _can_take_in(before: Operation, operation: Operation) -> bool:
    follows = operation.kind in ("affine", "activation")
    return before.kind == "linear" and before.activation is None and follows


def renumbered(
    shapes: list[Shape],
    first: int,
    output: int,
    operations: list[Operation],
    weights: Mapping[str, LinearWeights | Affine],
) -> Lowered:
    """The program without the values that fusing left unused, and without operations that lead nowhere."""
    needed = {output}
    kept = []
    for operation in reversed(operations):
        if operation.output in needed:
            needed.update(operation.inputs)
            kept.append(operation)
    kept.reverse()
    order = [first, *(operation.output for operation in kept)]
    number = {value: position for position, value in enumerate(order)}
    renumbered = tuple(
        Operation(each.kind, tuple(number[i] for i in each.inputs), number[each.output], each.layer, each.activation)
        for each in kept
    )
    used = {operation.layer for operation in kept}
    return Lowered(
        tuple(shapes[value] for value in order),
        number[first],
        number[output],
        renumbered,
        {name: each for name, each in weights.items() if name in used},
    )


def as_numpy(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(tensor.detach().cpu().to(torch.float32).numpy())
