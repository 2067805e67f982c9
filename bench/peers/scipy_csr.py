"""SciPy's CSR arrays; they run on one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.peers import Array, Example, Local, matrices, missing, single

if TYPE_CHECKING:
    from torch import nn

NAME = "scipy-csr"
PACKAGE = "scipy"
KIND = "sparse"
PRECISION = "f32"


def available() -> str | None:
    return missing("scipy")


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    from scipy.sparse import csr_array

    layers, given = matrices(model), single(example).numpy()
    one = len(given) == 1
    x = given[0] if one else np.ascontiguousarray(given.T)
    chain = [(csr_array(layer.weight), layer.bias if one else layer.bias[:, None], layer.relu) for layer in layers]
    stored = sum(w.data.nbytes + w.indices.nbytes + w.indptr.nbytes + bias.nbytes for w, bias, _ in chain)

    def call() -> Array:
        value = x
        for weight, bias, relu in chain:
            value = weight @ value
            value += bias
            if relu:
                np.maximum(value, 0, out=value)
        return value

    return Local(call, stored, lambda value: value[None] if one else value.T)
