"""LSTM, GRU and RNN nodes as PyTorch's layers, which the engine has whole.

ONNX orders gates otherwise (i, o, f, c and z, r, h; PyTorch has i, f, c, o and r, z, h) and has both directions in one
matrix of three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparbor.onnx_import.node import Array, Node, Value
from sparbor.onnx_import.values import as_tensor, narrowed

_ORDERS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_USUAL = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
RECURRENT = tuple(_ORDERS)


def recurrent_layer(node: Node, constants: Sequence[Array | None]) -> nn.RNNBase:
    """PyTorch's layer with the node's weights; refuses what that layer cannot compute."""
    if len(constants) < 3 or constants[1] is None or constants[2] is None:
        node.refuse("has weights that are computed")
    weights, states = narrowed(constants[1]), narrowed(constants[2])
    bias = narrowed(constants[3]) if len(constants) > 3 and constants[3] is not None else None
    if bias is None and len(node.inputs) > 3 and node.inputs[3]:
        node.refuse("has a bias that is computed")
    kind, both = _kind(node), node.get("direction", "forward") == "bidirectional"
    layer: nn.RNNBase = kind(weights.shape[2], states.shape[2], bias=bias is not None, bidirectional=both)
    order = _ORDERS[node.kind]
    with torch.no_grad():
        for way, suffix in enumerate(("", "_reverse")[: 1 + both]):
            _set(layer, f"weight_ih_l0{suffix}", weights[way], order)
            _set(layer, f"weight_hh_l0{suffix}", states[way], order)
            if bias is not None:
                half = len(bias[way]) // 2
                _set(layer, f"bias_ih_l0{suffix}", bias[way][:half], order)
                _set(layer, f"bias_hh_l0{suffix}", bias[way][half:], order)
    return layer


def _set(layer: nn.RNNBase, name: str, values: Array, order: Sequence[int]) -> None:
    """With its gates in another order."""
    gates = torch.from_numpy(values.copy()).chunk(len(order))
    getattr(layer, name).copy_(torch.cat([gates[place] for place in order]))


def _kind(node: Node) -> Any:
    """The class of the layer, called as PyTorch's are."""
    names = [each.decode() if isinstance(each, bytes) else each for each in node.get("activations", [])]
    ways = 2 if node.get("direction", "forward") == "bidirectional" else 1
    given = [each.lower() for each in names] or _USUAL[node.kind] * ways
    if node.get("clip") or node.get("input_forget", 0) or (len(node.inputs) > 7 and node.inputs[7]):
        node.refuse("clips its gates, couples them, or lets them see the cell (peepholes)")
    if node.kind == "RNN" and set(given) == {"relu"}:
        return lambda *sizes, **more: nn.RNN(*sizes, nonlinearity="relu", **more)
    if given != _USUAL[node.kind] * ways:
        node.refuse(f"has the activations {', '.join(given)}, and not the usual ones")
    if node.kind == "GRU" and not node.get("linear_before_reset", 0):
        node.refuse("resets its state before the product and not behind it (linear_before_reset=0)")
    return {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}[node.kind]


def run_recurrent(node: Node, layer: nn.RNNBase, given: Sequence[Value | None]) -> tuple[Tensor, ...]:
    """The node's outputs: all states, the last one, and of an LSTM the last cells."""
    given = [*given, *[None] * (8 - len(given))]
    x, starts = as_tensor(given[0]), [as_tensor(each) for each in given[5:7] if each is not None]  # type: ignore[arg-type]
    batch_first, backwards = bool(node.get("layout", 0)), node.get("direction", "forward") == "reverse"
    if batch_first:
        x, starts = x.transpose(0, 1), [each.transpose(0, 1) for each in starts]
    _check_lengths(node, given[4], x)
    x = x.flip(0) if backwards else x
    y, last = layer(x, _state(node, layer, x, starts, given[5] is None))
    y = y.flip(0) if backwards else y
    ways = 2 if layer.bidirectional else 1
    y = y.reshape(y.shape[0], y.shape[1], ways, layer.hidden_size)
    lasts = list(last) if isinstance(last, tuple) else [last]
    if batch_first:
        return (y.transpose(0, 1), *(each.transpose(0, 1) for each in lasts))
    return (y.permute(0, 2, 1, 3), *lasts)


def _state(node: Node, layer: nn.RNNBase, x: Tensor, starts: list[Tensor], no_state: bool) -> Any:
    if not starts:
        return None
    if node.kind != "LSTM":
        return starts[0]
    if len(starts) == 2:
        return tuple(starts)
    zeros = torch.zeros_like(starts[0])
    return (zeros, starts[0]) if no_state else (starts[0], zeros)


def _check_lengths(node: Node, lengths: Value | None, x: Tensor) -> None:
    """Sequences of different lengths in one batch are not computed."""
    if lengths is None:
        return
    if isinstance(lengths, Tensor) or any(each != x.shape[0] for each in lengths.ravel().tolist()):
        node.refuse("is given the lengths of sequences (sequence_lens), which would have to be all of the whole length")
