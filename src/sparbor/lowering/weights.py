"""A layer's weights before they are packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparbor.lowering.dispatch import convolution_is_faster_dense, dense_is_faster
from sparbor.ops.arguments import as_numpy
from sparbor.packing.dense_weights import DenseLayer, pack_dense
from sparbor.packing.filters import Filters, pack_by_groups, pack_filters, real_rows
from sparbor.packing.slots import Floats, Precision, SparseLayer, pack
from sparbor.program.program import Affine
from sparbor.program.windows import Planes, Window

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

    def then(self, affine: Affine) -> None:
        """Take in the batch norm that follows."""
        scale, shift = torch.from_numpy(affine.scale), torch.from_numpy(affine.shift)
        self.bias = shift if self.bias is None else self.bias.double() * scale + shift
        self.matrix = self.matrix.double() * scale[:, None]

    def packed_linear(self, rows: int, precision: Precision) -> SparseLayer | DenseLayer:
        """Sparse or dense, whichever is faster for so many rows."""
        weight, mask, bias = self._arrays()
        sparse = pack(weight, mask, bias, precision)
        if dense_is_faster(sparse, rows):
            return pack_dense(np.where(mask, weight, np.float32(0)), bias, precision)
        return sparse

    def packed_convolution(self, window: Window, x: Planes, y: Planes, precision: Precision) -> SparseLayer | Filters:
        """Sparse or dense, whichever is faster from planes `x` to planes `y`."""
        weight, mask, bias = self._arrays()
        sparse = pack_by_groups(weight, mask, bias, window.groups, precision)
        if convolution_is_faster_dense(sparse, real_rows(len(weight), window.groups), window, x, y):
            return pack_filters(np.where(mask, weight, np.float32(0)), bias, precision)
        return sparse

    def _arrays(self) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]], Floats | None]:
        return as_numpy(self.matrix), self.mask.numpy(), None if self.bias is None else as_numpy(self.bias)
