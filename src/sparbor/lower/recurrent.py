"""Recurrent layers as one operator each while a model is looked at: PyTorch would trace them item by item.

To trace an LSTM for a sequence of 500 items takes PyTorch most of a minute. Nothing is computed here but shapes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def _zeros(
    x: Tensor, states: Sequence[Tensor], batch_axis: int, output: int, layers: int, state: int, cell: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs and last states, of the right shapes; ``batch_axis`` is negative where there is no batch."""
    batch = x.shape[batch_axis : batch_axis + 1] if batch_axis >= 0 else ()
    y = x.new_zeros((*x.shape[:-1], output))
    return y, x.new_zeros((layers, *batch, state)), x.new_zeros((layers, *batch, cell))


_recurrent = torch.library.custom_op("sparbor::recurrent", _zeros, mutates_args=())
_recurrent.register_fake(_zeros)


def stand_in(layer: nn.RNNBase) -> None:
    """Let the layer's forward be one operator, until its attributes are put back."""
    vars(layer)["forward"] = partial(_forward, layer)


def _forward(layer: nn.RNNBase, x: Any, hx: Any = None) -> Any:
    if not isinstance(x, Tensor):  # a packed sequence
        return type(layer).forward(layer, x, hx)
    states = [] if hx is None else [hx] if isinstance(hx, Tensor) else list(hx)
    ways, state = (2 if layer.bidirectional else 1), layer.proj_size or layer.hidden_size
    batch_axis = -1 if x.dim() == 2 else 0 if layer.batch_first else 1
    sizes = ways * state, ways * layer.num_layers, state, layer.hidden_size
    y, h, c = _recurrent(x, states, batch_axis, *sizes)
    return y, ((h, c) if isinstance(layer, nn.LSTM) else h)
