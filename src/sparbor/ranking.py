"""The ranks of scores within their branches."""

import torch
from torch import Tensor

from sparbor import engine
from sparbor.workers import workers

NATIVE_WIDTH = 32


def ranks(scores: Tensor) -> Tensor:
    """For each row of the last dimension, the place of each score when the largest comes first (int64).

    Of equal scores the first comes first. None may be NaN.

    >>> ranks(torch.tensor([[1.0, 3.0, 2.0, 3.0]]))
    tensor([[3, 0, 2, 1]])
    """
    here = torch.empty(scores.shape, dtype=torch.int64, device=scores.device)
    if (
        engine.built
        and scores.device.type == "cpu"
        and scores.dtype == torch.float32
        and scores.shape[-1] == NATIVE_WIDTH
    ):
        rows, out = (each.view(-1, NATIVE_WIDTH) for each in (scores.contiguous(), here))
        engine.rank_rows(workers(), rows.numpy(), out.numpy())
        return here
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return here.scatter_(-1, order, torch.arange(scores.shape[-1], device=scores.device).expand_as(order))
