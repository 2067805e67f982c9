"""SparseLab's padded CSR and its SIMD kernel, without the copies of its module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench.peers import Array, Example, Local, matrices, missing, single

NAME = "sparselab"
PACKAGE = "sparselab"
KIND = "sparse"
PRECISION = "f32"


def available() -> str | None:
    return missing("sparselab")


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    import sparselab

    layers = matrices(model)
    x = single(example).t().contiguous()
    chain = [
        (
            sparselab.PaddedCSR.from_dense(torch.tensor(layer.weight), padding_ratio=0.0),
            torch.tensor(layer.bias)[:, None],
            layer.relu,
        )
        for layer in layers
    ]
    stored = sum(_bytes(weight) + bias.nbytes for weight, bias, _ in chain)

    @torch.inference_mode()
    def call() -> Tensor:
        value = x
        for weight, bias, relu in chain:
            value = sparselab.spmm(weight, value).add_(bias)
            if relu:
                value.relu_()
        return value.t()

    def read(value: Tensor) -> Array:
        return value.numpy()

    return Local(call, stored, read)


def _bytes(matrix: object) -> int:
    parts = ("values", "col_indices", "row_start", "row_nnz", "row_capacity")
    return sum(np.asarray(getattr(matrix, part)).nbytes for part in parts)
