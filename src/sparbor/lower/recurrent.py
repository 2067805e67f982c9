"""Recurrent layers as one operator each while a model is traced: PyTorch would trace them item by item.

To trace an LSTM for a sequence of 500 items takes PyTorch most of a minute, and the graph is then one for that length
alone. Nothing is computed here but shapes; :mod:`sparbor.ops.recurrent` says what the operator is to the engine.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError


def _zeros(
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    kind: str,
    layers: int,
    both_ways: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs and last states, of the right shapes; what comes in must have those that the weights are for."""
    ways, batch = 2 if both_ways else 1, x.shape[0 if batch_first else 1]
    state, cell = weights[1].shape[1], weights[1].shape[0] // _GATES[kind]
    if x.shape[-1] != weights[0].shape[1]:
        raise RuntimeError(f"a recurrent layer of {weights[0].shape[1]} features is given {x.shape[-1]}")
    for each, units in zip(states, (state, cell), strict=False):
        if each.shape != (ways * layers, batch, units):
            raise RuntimeError(
                f"a recurrent layer is given a state of shape {tuple(each.shape)}, not (layers, batch, units)"
            )
    y = x.new_zeros((*x.shape[:-1], ways * state))
    return y, x.new_zeros((ways * layers, batch, state)), x.new_zeros((ways * layers, batch, cell))


_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_recurrent = torch.library.custom_op("sparbor::recurrent", _zeros, mutates_args=())
_recurrent.register_fake(_zeros)


def stand_in(layer: nn.RNNBase) -> None:
    """Let the layer's forward be one operator, until its attributes are put back; not one that is not PyTorch's."""
    if type(layer).forward in (nn.LSTM.forward, nn.GRU.forward, nn.RNN.forward):
        vars(layer)["forward"] = partial(_forward, layer)


def _forward(layer: nn.RNNBase, x: Any, hx: Any = None) -> Any:
    if not isinstance(x, Tensor):
        raise ArgumentError(
            "the model packs its sequences (pack_padded_sequence), which cannot be traced: give its recurrent layers "
            "the padded batch"
        )
    states = [] if hx is None else [hx] if isinstance(hx, Tensor) else list(hx)
    batched = x.dim() == 3
    if not batched:
        x, states = x.unsqueeze(0 if layer.batch_first else 1), [each.unsqueeze(1) for each in states]
    kind = layer.mode.lower()
    # By name: whoever exchanges a weight for one call does not know of the list that the layer has of them.
    weights = [getattr(layer, name) for name in layer._flat_weights_names]
    y, h, c = _recurrent(x, states, weights, kind, layer.num_layers, layer.bidirectional, layer.batch_first)
    if not batched:
        y, h, c = y.squeeze(0 if layer.batch_first else 1), h.squeeze(1), c.squeeze(1)
    return y, ((h, c) if isinstance(layer, nn.LSTM) else h)
