"""Which inputs a layer's neurons read: a mask as the lists that training's kernels walk through.

The weights of the synapses lie side by side, in the order of the mask. A layer is a convolution over planes; a linear
layer is one whose kernel has one tap, over planes of one pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sparbor import native
from sparbor.errors import ArgumentError
from sparbor.synapses.batch_layout import MOST_OF_PLANE, pitch

FIRST_CACHE_BYTES = 40 << 10
BLOCK_PIXELS = 16  # of a chunk of planes, that a kernel sums at once


@dataclass(frozen=True)
class ConvParams:
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
class SynapseLists:
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

    def __init__(self, positions: Tensor, shape: Sequence[int], params: ConvParams) -> None:
        self.params = params
        self.outputs, self.fan_in = shape[0], shape[1]
        self.positions = positions
        self.made: dict[Size, SynapseLists] = {}

    def lists(self, size: Size) -> SynapseLists:
        """The lists for planes of this size; made once for each."""
        if size not in self.made:
            with torch.inference_mode(False):  # evaluation may be the first to ask, and training goes on with them
                self.made[size] = self._make_lists(size)
        return self.made[size]

    def _make_lists(self, size: Size) -> SynapseLists:
        params, outputs, channels = self.params, self.outputs, self.fan_in * self.params.groups
        (pad_h, pad_w), (reach_h, reach_w) = params.padding, params.reach
        padded = Size(size.height + 2 * pad_h, size.width + 2 * pad_w, size.channels_last)
        slopes = Size(size.height + reach_h, size.width + reach_w, size.channels_last)
        parts, back_parts, count = self._parts(self.fan_in, size), self._parts(outputs, size), len(self.positions)
        empty = partial(torch.empty, dtype=torch.int32)
        of_outputs, of_channels = empty(parts + 1, outputs), empty(back_parts + 1, channels)
        lists = SynapseLists(of_outputs, empty(count), of_channels, empty(count), positions=empty(count))
        native.list_synapses(
            self.positions.numpy(),
            (outputs, self.fan_in, *params.kernel),
            params.dilation,
            params.groups,
            _spacing(padded, channels),
            _spacing(slopes, outputs),
            *(tensor.numpy() for tensor in vars(lists).values()),
        )
        return lists

    def _parts(self, channels: int, size: Size) -> int:
        """How many for kernels over so many channels; a linear layer's few synapses are not worth more than one."""
        if size.height == size.width == 1:
            return 1
        kernel_h, kernel_w = self.params.kernel
        read = channels * kernel_h * (kernel_w + BLOCK_PIXELS - 1) * MOST_OF_PLANE * 4
        return min(channels, -(-read // FIRST_CACHE_BYTES))


def _spacing(size: Size, channels: int) -> tuple[int, int, int]:
    """How far channels, lines and pixels lie apart in planes of this size."""
    room = pitch(channels)
    if size.height * size.width * room >= 1 << 31:
        raise ArgumentError(
            f"{channels} channels of {size.height} x {size.width} pixels are more numbers than training's kernels can"
            " tell apart; train this layer dense (Recipe(exclude=...)) or on smaller images"
        )
    if size.channels_last:
        return 1, size.width * room, room
    return size.height * size.width, size.width, 1


def places_of(size: Size, channels: int, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The channel, row and column of pixels that are numbered as in :class:`SynapseLists`."""
    if size.channels_last:
        place, channel = pixels // pitch(channels), pixels % pitch(channels)
        return channel, place // size.width, place % size.width
    line = pixels // size.width
    return line // size.height, line % size.height, pixels % size.width
