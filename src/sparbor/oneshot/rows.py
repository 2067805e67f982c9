"""What a layer multiplies its matrix with: the rows ``x`` of ``y = x W^T``, also where the layer is a convolution.

A row is what one neuron reads for one of its outputs. A linear layer's rows are its inputs as they are; a convolution's
are the patches of the planes that its kernel lies on, channel by channel, as :mod:`sparbor.topology.matrix` flattens a
kernel. A transposed convolution is the convolution that the engine runs for it: over planes with zeros between the
inputs, with each kernel turned around. Rows of a grouped convolution are apart for each group.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from sparbor.nn.layers import is_conv1d

CHUNK = 1 << 22  # numbers in the rows that are made at a time: patches are many times as large as their planes


def has_rows(layer: nn.Module) -> bool:
    """Whether the layer is of a kind whose inputs can be seen as rows."""
    return isinstance(layer, (nn.Linear, _ConvNd)) or is_conv1d(layer)


def geometry(layer: nn.Module) -> tuple[Any, ...]:
    """What must be equal of two layers that see the same planes, for their rows to be the same."""
    if not isinstance(layer, _ConvNd):
        return ("linear",)
    return (type(layer), *(getattr(layer, name) for name in _GEOMETRY))


_GEOMETRY = ("in_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


def rows_of(layer: nn.Module, x: Tensor, y: Tensor, counted: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows ``(groups, n, fan_in)`` of the input, and ``(groups, n, neurons)`` of the output, a part at a time.

    ``counted`` has one bool for each place of a sequence in the batch: a linear layer's rows are those where it is
    true, if its input has these places.
    """
    x, y = x.detach().float(), y.detach().float()
    if isinstance(layer, _ConvNd):
        yield from _patches(layer, x, y)
        return
    inputs, outputs = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    if counted is not None and _has_places(x, counted):
        places = counted.flatten()
        inputs, outputs = inputs[places], outputs[places]
    yield inputs[None], outputs[None]


def without_bias(layer: nn.Module, answers: Tensor) -> Tensor:
    """Rows of answers less the layer's bias, if it has one."""
    bias = getattr(layer, "bias", None)
    return answers if bias is None else answers - bias.detach().float().view(len(answers), 1, -1)


def _has_places(x: Tensor, counted: Tensor) -> bool:
    """Whether the input has a row for each place: as ``(batch, length, features)``, or with the two in one."""
    return x.shape[:-1] == counted.shape or x.shape[:-1] == (counted.numel(),)


def _patches(layer: _ConvNd, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    planes = len(layer.kernel_size)
    if x.dim() == planes + 1:  # a single item
        x, y = x[None], y[None]
    fan_in = x.shape[1] // layer.groups * layer.weight[0, 0].numel()
    size = max(1, CHUNK // max(1, y[0, 0].numel() * layer.groups * fan_in))
    for items, answers in zip(torch.split(x, size), torch.split(y, size), strict=True):
        padded, stride = _spread(layer, items, y.shape[2:]) if layer.transposed else _padded(layer, items)
        for axis, (kernel, step, apart) in enumerate(zip(layer.kernel_size, stride, layer.dilation, strict=True), 2):
            padded = padded.unfold(axis, apart * (kernel - 1) + 1, step)[..., ::apart]
        # Items, groups, places, channels, kernel.
        places = torch.unflatten(padded, 1, (layer.groups, -1)).movedim(2, 2 + planes)
        yield (
            places.transpose(0, 1).reshape(layer.groups, -1, fan_in),
            answers.movedim(1, -1).reshape(-1, layer.groups, y.shape[1] // layer.groups).transpose(0, 1),
        )


def _padded(layer: _ConvNd, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, layer._reversed_padding_repeated_twice, mode=mode), layer.stride


def _spread(layer: _ConvNd, x: Tensor, wanted: torch.Size) -> tuple[Tensor, tuple[int, ...]]:
    """The planes that a plain convolution turns into what a transposed one makes of ``x``: zeros between and around."""
    sizes = [(size - 1) * step + 1 for size, step in zip(x.shape[2:], layer.stride, strict=True)]
    spread = x.new_zeros(*x.shape[:2], *sizes)
    places: Any = (..., *(slice(None, None, step) for step in layer.stride))
    spread[places] = x
    padding: list[int] = []
    for axis, (size, output) in enumerate(zip(sizes, wanted, strict=True)):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        before = reach - int(layer.padding[axis])
        padding = [before, output + reach - size - before, *padding]  # F.pad has the last dimension first
    return F.pad(spread, padding), (1,) * len(sizes)
