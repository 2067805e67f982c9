"""The neurons of a layer in an order that takes fewer places, where the one that reads them is packed too.

Sixteen neurons in a row make a block, and on each branch of its inputs a block has as many places as the neuron with
the most weights there: neurons that have theirs on the same branches belong together. Nobody but the reader needs to
know the order: its inputs are taken in it, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from sparbor.onnx.layers import Found
from sparbor.onnx.scopes import Scope
from sparbor.packing.quads import QUAD_BRANCH, SYNAPSES
from sparbor.packing.slots import BRANCH, NEURON_BLOCK, Bools, Encoding, place_synapses

Order = npt.NDArray[np.int64]
_FILLED = 1.5  # a good order leaves about a third of the places empty where weights stand anywhere
_LEAST_GAIN = 0.02


def in_better_orders(scope: Scope, layers: Sequence[Found], weights: Encoding) -> list[Found]:
    """The layers, each one's neurons and its reader's inputs in another order where both take fewer places so.

    It needs PyTorch; without it they stay as they are.
    """
    now = list(layers)
    if find_spec("torch") is None:
        return now
    for number, layer in enumerate(layers):
        reader = next((place for place, other in enumerate(layers) if _reads_alone(scope, layer, other)), None)
        if reader is None or (order := _better(now[number], now[reader], weights)) is None:
            continue
        now[number] = _with_rows(now[number], order)
        now[reader] = _with_columns(now[reader], order)
    return now


def _reads_alone(scope: Scope, layer: Found, other: Found) -> bool:
    """Whether the other one reads the layer's neurons, nobody else does, and it mixes all of them."""
    groups = [1 if each.window is None else each.window.groups for each in (layer, other)]
    return other.x == layer.y and scope.uses[layer.y] == 1 and layer.operator == other.operator and max(groups) == 1


def _better(layer: Found, reader: Found, weights: Encoding) -> Order | None:
    import torch

    from sparbor.recipe.pattern import Quads, Slots
    from sparbor.topology.neuron_blocks import best_order

    mask = layer.matrix != 0
    pattern = Quads() if _in_quads(layer, weights) else Slots()
    density = min(1.0, _FILLED * mask.mean())
    order: Order = best_order(torch.from_numpy(mask.astype(np.float32)), pattern, density).numpy()
    before = _places(mask, layer, weights) + _places(reader.matrix != 0, reader, weights)
    moved = _with_columns(reader, order).matrix != 0
    after = _places(mask[order], layer, weights) + _places(moved, reader, weights)
    return order if after < (1 - _LEAST_GAIN) * before else None


def _in_quads(layer: Found, weights: Encoding) -> bool:
    return weights is Encoding.INT8 and layer.window is None


def _places(mask: Bools, layer: Found, weights: Encoding) -> int:
    branch, each = (QUAD_BRANCH, SYNAPSES) if _in_quads(layer, weights) else (BRANCH, 1)
    rows, columns = np.nonzero(mask)
    layout, _ = place_synapses(mask.shape, rows, columns, branch, each)
    return layout.slots * NEURON_BLOCK * each


def _with_rows(layer: Found, order: Order) -> Found:
    bias = None if layer.bias is None else layer.bias[order]
    return replace(layer, matrix=np.ascontiguousarray(layer.matrix[order]), bias=bias)


def _with_columns(layer: Found, order: Order) -> Found:
    """Each neuron read may be several inputs in a row, those of a convolution's kernel."""
    by_neuron = layer.matrix.reshape(len(layer.matrix), len(order), -1)
    return replace(layer, matrix=np.ascontiguousarray(by_neuron[:, order].reshape(layer.matrix.shape)))
