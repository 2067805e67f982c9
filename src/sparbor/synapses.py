"""Which inputs a layer's neurons read: a mask as the lists that training's kernels walk through.

The weights of the synapses lie side by side, in the order of the mask. A layer is a convolution over planes; a linear
layer is one whose kernel has one tap, over planes of one pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparbor.errors import ArgumentError
from sparbor.lanes import pitch

FIRST_CACHE_BYTES = 40 << 10
BLOCK_PIXELS, BLOCK_LANES = 4, 32  # that a kernel sums at once, of planes


@dataclass(frozen=True)
class Window:
    """How a kernel moves over planes, by one pixel at a time: its size, its zero padding, the gaps between its taps."""

    kernel: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def reach(self) -> tuple[int, int]:
        """How far the last tap lies from the first."""
        (kernel_h, kernel_w), (dilation_h, dilation_w) = self.kernel, self.dilation
        return dilation_h * (kernel_h - 1), dilation_w * (kernel_w - 1)


@dataclass(frozen=True)
class Size:
    """Of planes without their padding; ``channels_last``: all channels of a pixel lie side by side."""

    height: int
    width: int
    channels_last: bool = False


@dataclass(frozen=True)
class Lists:
    """For planes of one size, the synapses of each output, and those of each input channel.

    Those of output o lie in parts, part p from ``bounds[p, o]`` to ``bounds[p + 1, o]``, and ``inputs`` are the pixels
    that they read for the output's first pixel, numbered over all channels of the padded planes as they lie.
    ``back_bounds`` and ``back_inputs`` say the same of the planes of gradients, for each input channel; ``positions``
    says which synapses those are. A part reads few channels: what it reads for some pixels fits into a first cache.
    """

    bounds: Tensor
    inputs: Tensor
    back_bounds: Tensor
    back_inputs: Tensor
    positions: Tensor


class Synapses:
    """The synapses at these ``positions`` in a weight of the shape ``(outputs, channels / groups, *kernel)``."""

    def __init__(self, positions: Tensor, shape: Sequence[int], window: Window) -> None:
        self.window = window
        self.outputs, self.fan_in = shape[0], shape[1]
        self._positions = positions
        self._lists: dict[Size, Lists] = {}

    def lists(self, size: Size) -> Lists:
        """The lists for planes of this size; made once for each."""
        if size not in self._lists:
            with torch.inference_mode(False):  # evaluation may be the first to ask, and training goes on with them
                self._lists[size] = self._make_lists(size)
        return self._lists[size]

    def tensors(self) -> list[Tensor]:
        """All that has been made of the mask."""
        return [tensor for lists in self._lists.values() for tensor in vars(lists).values()]

    def _make_lists(self, size: Size) -> Lists:
        window, (reach_h, reach_w) = self.window, self.window.reach
        outputs, fan_in, (kernel_h, kernel_w) = self.outputs, self.fan_in, window.kernel
        channels = fan_in * window.groups
        tap, column = self._positions // kernel_w, (self._positions % kernel_w * window.dilation[1]).int()
        tap, row = tap // kernel_h, (tap % kernel_h * window.dilation[0]).int()
        output, within = (tap // fan_in).int(), (tap % fan_in).int()
        channel = output // (outputs // window.groups) * fan_in + within
        padded = Size(size.height + 2 * window.padding[0], size.width + 2 * window.padding[1], size.channels_last)
        slopes = Size(size.height + reach_h, size.width + reach_w, size.channels_last)
        _check_numbers(padded, channels)
        _check_numbers(slopes, outputs)
        order = _order(channel, channels)
        return Lists(
            _bounds(output, outputs, within, fan_in, self._parts(fan_in, size)),
            _pixels(padded, channels, channel, row, column),
            _bounds(channel[order], channels, output[order], outputs, self._parts(outputs, size)),
            _pixels(slopes, outputs, output, reach_h - row, reach_w - column)[order],
            order.int(),
        )

    def _parts(self, channels: int, size: Size) -> int:
        """How many for kernels over so many channels; a linear layer's few synapses are not worth more than one."""
        if size.height == size.width == 1:
            return 1
        kernel_h, kernel_w = self.window.kernel
        read = channels * kernel_h * (kernel_w + BLOCK_PIXELS - 1) * BLOCK_LANES * 4
        return min(channels, -(-read // FIRST_CACHE_BYTES))


def _check_numbers(size: Size, channels: int) -> None:
    if size.height * size.width * pitch(channels) >= 1 << 31:
        raise ArgumentError(
            f"{channels} channels of {size.height} x {size.width} pixels are more numbers than training's kernels can"
            " tell apart; train this layer dense (Recipe(exclude=...)) or on smaller images"
        )


def _pixels(size: Size, channels: int, channel: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Their numbers in planes of this size."""
    if size.channels_last:
        return (row * size.width + column) * pitch(channels) + channel
    return (channel * size.height + row) * size.width + column


def places_of(size: Size, channels: int, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The channel, row and column of pixels that are numbered as in :class:`Lists`."""
    if size.channels_last:
        place, channel = pixels // pitch(channels), pixels % pitch(channels)
        return channel, place // size.width, place % size.width
    line = pixels // size.width
    return line // size.height, line % size.height, pixels % size.width


def _order(numbers: Tensor, count: int) -> Tensor:
    """Where the numbers, all below ``count``, stand in order; NumPy sorts short ones by their bytes, in no time."""
    short = np.uint16 if count <= 1 << 16 else np.uint32
    return torch.from_numpy(numbers.numpy().astype(short).argsort(kind="stable"))


def _bounds(rows: Tensor, count: int, channels: Tensor, most: int, parts: int) -> Tensor:
    """Where each part of each row begins, and where the row ends, for synapses in the order of rows and channels."""
    part = channels.long() * parts // max(1, most)
    starts = torch.zeros(count * parts + 1, dtype=torch.int64)
    torch.cumsum((rows.long() * parts + part).bincount(minlength=count * parts), 0, out=starts[1:])
    begins, ends = starts[:-1].view(count, parts), starts[parts::parts].view(count, 1)
    return torch.cat([begins, ends], 1).t().contiguous().int()
