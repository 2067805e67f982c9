"""A copy of a model with its neurons in the order that its layers remember, for deploying.

In training nothing moves: a layer only remembers in which order its pattern sees its neurons and its inputs. A deployed
copy has its weights in that order, where :mod:`sparbor.lower.chains` finds that the order is free to choose.
"""

import copy
import logging
from functools import partial

import torch
from torch import Tensor, nn

from sparbor.lower.call import ModelCall
from sparbor.lower.chains import Chain, chains
from sparbor.lower.tracing import items_like, likely_free_sizes
from sparbor.nn.dendrites import Dendrite, Dendrites
from sparbor.nn.layers import ONE_WEIGHT, is_transposed
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer
from sparbor.topology.matrix import from_matrix, take_columns, to_matrix

logger = logging.getLogger("sparbor")


def input_order(reader: nn.Module, neurons: Tensor, by_pixel: bool = False) -> Tensor:
    """The order of a reader's columns, its matrix' inputs, when the neurons that it reads are in this one.

    A linear layer that reads flattened planes has all pixels of one neuron, then those of the next; ``by_pixel``, all
    neurons of one pixel, then those of the next.
    """
    columns = _matrix(plain_layer(reader), plain_layer(reader).get_parameter("weight")).shape[1]
    of_neuron = torch.arange(columns, device=neurons.device).view(len(neurons), -1)[neurons]
    return (of_neuron.T if by_pixel else of_neuron).flatten()


def sees_pixels(reader: PAINeuronModule, neurons: int) -> bool:
    """Whether a layer reads flattened planes of so many neurons, and its pattern sees them channels last."""
    shape = reader.outputs_first
    return reader.pattern.channels_last and len(shape) == 2 and shape[1] > neurons


@torch.no_grad()
def permuted(model: nn.Module, call: ModelCall) -> nn.Module:
    """A copy of ``model`` that computes the same, its neurons where possible in the order that its layers remember.

    A layer whose order has to stay keeps it; whoever packs it then fills slots up with zeros. So do all if tracing
    was wrong about the order of one (a hook may scale channels, say), which its answers to ``call`` and to noise of
    the same shapes tell.
    """
    layers = [module for module in model.modules() if isinstance(module, PAINeuronModule)]
    if not any(layer.is_permuted() for layer in layers) or any(_computes_with_dropped(layer) for layer in layers):
        return model
    try:
        moved = copy.deepcopy(model)
        like = call.with_tensors(items_like(call.tensors, likely_free_sizes(call.tensors)[-1]))
        for chain in chains(moved, like.args, like.kwargs).found:
            _move(chain, chain.layer.neuron_order)
        agree = all(_agree(moved, model, each) for each in (call, call.with_noise(1.0)))
        reason = "in another one the model answers otherwise, as where a hook treats neurons one by one"
    except Exception as error:  # of code that is not ours, or that neurons in another order have broken
        agree, reason = False, (str(error).splitlines() or [type(error).__name__])[0]
    if agree:
        return moved
    logger.warning("neurons are deployed in their own order, which takes more slots: %s", reason)
    return model


def _agree(one: nn.Module, other: nn.Module, call: ModelCall) -> bool:
    answers = (call.of(model).values() for model in (one, other))
    return all(torch.allclose(mine, wanted, 1e-2, 1e-3, equal_nan=True) for mine, wanted in zip(*answers, strict=True))


def _computes_with_dropped(layer: PAINeuronModule) -> bool:
    """Whether dropped weights are not zero where only a perforator would see to that, as in a weight put in anew.

    A copy would mask them, and compute something else.
    """
    return layer.controller is not None and not layer.compact and bool(layer.parameter.masked_fill(layer.mask, 0).any())


@torch.no_grad()
def _move(chain: Chain, order: Tensor) -> None:
    _move_weights(chain.layer, rows=order)
    for dendrite in _dendrites(chain.layer):
        _move_weights(dendrite.inputs, rows=order)
        dendrite.strength.copy_(dendrite.strength[order])
        if dendrite.earlier is not None:
            _move_weights(dendrite.earlier, rows=order, columns=dendrite.order_of_earlier(order))
    for part in chain.along:
        if isinstance(plain_layer(part), ONE_WEIGHT):
            _move_weights(part, rows=order)
        else:
            for values in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
                if values.shape == order.shape:
                    values.copy_(values[order])
    for reader in chain.readers:
        by_pixel = _stands_by_pixel(reader, order)
        for part in (reader, *(dendrite.inputs for dendrite in _dendrites(reader))):
            _move_weights(part, columns=input_order(reader, order, by_pixel))
        if by_pixel:
            reader.register_forward_pre_hook(partial(_give_by_pixel, len(order)), with_kwargs=True)


def _stands_by_pixel(reader: nn.Module, order: Tensor) -> bool:
    """Whether a layer's synapses were chosen with its inputs pixel by pixel, as it remembers them."""
    if not isinstance(reader, PAINeuronModule) or not sees_pixels(reader, len(order)):
        return False
    return torch.equal(reader.input_order, input_order(reader, order, by_pixel=True))


def _give_by_pixel(
    neurons: int, _: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """A hook: what a layer is called with, flattened planes, pixel by pixel."""
    (planes,) = (*args, *kwargs.values())
    by_neuron = planes.reshape(*planes.shape[:-1], neurons, -1)
    return (by_neuron.transpose(-1, -2).flatten(-2),), {}


def _dendrites(module: nn.Module) -> list[Dendrite]:
    """Those that a layer may have, grown or not."""
    dendrites = module.dendrites if isinstance(module, PAINeuronModule) else None
    return dendrites.generations() if isinstance(dendrites, Dendrites) else []


def _move_weights(module: nn.Module, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
    layer = plain_layer(module)
    masks = [module.mask] if isinstance(module, PAINeuronModule) else []
    for values in (layer.get_parameter("weight"), *masks):
        matrix = _matrix(layer, values.detach())
        matrix = matrix if rows is None else matrix[rows]
        matrix = matrix if columns is None else take_columns(matrix, columns)
        values.copy_(from_matrix(matrix, values.shape, getattr(layer, "groups", 1), is_transposed(layer)))
    if rows is not None and layer.bias is not None:
        bias = layer.get_parameter("bias")
        bias.copy_(bias[rows])


def _matrix(layer: nn.Module, values: Tensor) -> Tensor:
    return to_matrix(values, getattr(layer, "groups", 1), is_transposed(layer))
