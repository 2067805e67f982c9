"""Which inputs a layer's neurons read: a mask as the lists that training's kernels walk through.

The weights of the synapses lie side by side, in the order of the mask. A layer is a convolution over planes; a linear
layer is one whose kernel has one tap, over planes of one pixel.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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

    Those of output o are numbers ``starts[o]`` to ``starts[o + 1]``, and ``inputs`` are the pixels that they read for
    the output's first pixel, numbered over all channels of the padded planes as they lie. ``back_starts`` and
    ``back_inputs`` say the same of the planes of gradients, for each input channel; ``positions`` says which synapses
    those are.
    """

    starts: Tensor
    inputs: Tensor
    back_starts: Tensor
    back_inputs: Tensor
    positions: Tensor


class Synapses:
    """The synapses under a ``mask`` of the shape ``(outputs, channels / groups, *kernel)``, which is not to change."""

    def __init__(self, mask: Tensor, window: Window) -> None:
        self.window = window
        self._mask = mask
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
        outputs, fan_in = self._mask.shape[:2]
        channels = fan_in * window.groups
        taps = self._mask.reshape(outputs, fan_in, *window.kernel).nonzero(as_tuple=True)
        output, within, row, column = (each.int() for each in taps)
        row, column = row * window.dilation[0], column * window.dilation[1]
        channel = output // (outputs // window.groups) * fan_in + within
        padded = Size(size.height + 2 * window.padding[0], size.width + 2 * window.padding[1], size.channels_last)
        slopes = Size(size.height + reach_h, size.width + reach_w, size.channels_last)
        order = _order(channel, channels)
        return Lists(
            _starts(output, outputs),
            _pixels(padded, channels, channel, row, column),
            _starts(channel, channels),
            _pixels(slopes, outputs, output, reach_h - row, reach_w - column)[order],
            order.int(),
        )


def _pixels(size: Size, channels: int, channel: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Their numbers in planes of this size."""
    if size.channels_last:
        return (row * size.width + column) * channels + channel
    return (channel * size.height + row) * size.width + column


def _order(numbers: Tensor, count: int) -> Tensor:
    """Where the numbers, all below ``count``, stand in order; NumPy sorts short ones by their bytes, in no time."""
    short = np.uint16 if count <= 1 << 16 else np.uint32
    return torch.from_numpy(numbers.numpy().astype(short).argsort(kind="stable"))


def _starts(rows: Tensor, count: int) -> Tensor:
    """Where each row begins among all, in order."""
    starts = torch.zeros(count + 1, dtype=torch.int32)
    torch.cumsum(rows.bincount(minlength=count), 0, out=starts[1:])
    return starts
