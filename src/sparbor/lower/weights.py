"""A layer's weights before they are packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparbor.ops.arguments import as_numpy
from sparbor.packing.dense_weights import DenseLayer, pack_dense
from sparbor.packing.filters import Filters, pack_by_groups, pack_filters
from sparbor.packing.slots import Encoding, Floats, SparseLayer, pack
from sparbor.program.program import ScaleShift, stored_bytes
from sparbor.program.windows import Window

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

    def then(self, by: ScaleShift) -> None:
        """Take in the batch norm that follows."""
        scale, shift = torch.from_numpy(by.scale), torch.from_numpy(by.shift)
        self.bias = shift if self.bias is None else self.bias.double() * scale + shift
        self.matrix = self.matrix.double() * scale[:, None]

    def packed(self, window: Window | None, encoding: Encoding) -> SparseLayer | DenseLayer | Filters:
        """Sparse or dense, whichever takes fewer bytes; `window` is that of a convolution."""
        weight, mask, bias = self._arrays()
        kept = np.where(mask, weight, np.float32(0))
        if window is None:
            return _smaller(pack(weight, mask, bias, encoding), pack_dense(kept, bias, encoding))
        sparse = pack_by_groups(weight, mask, bias, window.groups, encoding)
        return _smaller(sparse, pack_filters(kept, bias, encoding))

    def _arrays(self) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]], Floats | None]:
        return as_numpy(self.matrix), self.mask.numpy(), None if self.bias is None else as_numpy(self.bias)


def _smaller(sparse: SparseLayer, dense: DenseLayer | Filters) -> SparseLayer | DenseLayer | Filters:
    return sparse if stored_bytes(sparse) < stored_bytes(dense) else dense
