"""PyTorch's CSR tensors (MKL underneath): matrix times vector at batch 1, matrix times columns beyond."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from bench.peers import Example, Local, matrices, single

NAME = "torch-csr"
PACKAGE = "torch"
KIND = "sparse"
PRECISION = "f32"


def available() -> str | None:
    return None


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    chain = [(_csr(layer.weight), torch.tensor(layer.bias), layer.relu) for layer in matrices(model)]
    given = single(example)
    stored = sum(_bytes(weight) + bias.nbytes for weight, bias, _ in chain)

    @torch.inference_mode()
    def one() -> Tensor:
        x = given[0]
        for weight, bias, relu in chain:
            x = torch.addmv(bias, weight, x)
            if relu:
                x.relu_()
        return x[None]

    @torch.inference_mode()
    def many() -> Tensor:
        x = given.t()
        for weight, bias, relu in chain:
            x = (weight @ x).add_(bias[:, None])
            if relu:
                x.relu_()
        return x.t()

    return Local(one if len(given) == 1 else many, stored)


def _csr(weight: Any) -> Tensor:
    matrix = torch.tensor(weight).to_sparse_csr()
    index = torch.int32  # what MKL takes without a conversion
    rows, columns = matrix.crow_indices().to(index), matrix.col_indices().to(index)
    return torch.sparse_csr_tensor(rows, columns, matrix.values(), matrix.shape, check_invariants=False)


def _bytes(matrix: Tensor) -> int:
    return sum(part.nbytes for part in (matrix.crow_indices(), matrix.col_indices(), matrix.values()))
