"""Batches as training's kernels want them: the items side by side, lanes of a vector, for each pixel.

``(batch, channels, height, width)`` becomes ``(chunks, channels, height, width, lanes)``. A chunk of the batch is small
enough for what an output reads to stay in a cache. Channels last: in memory, a pixel's channels lie in front of its
lanes, else in front of the height.
"""

import torch
from torch import Tensor

_TILE = 16  # a kernel's
_MOST_LANES = 128
_MOST_LANES_OF_LINE = 32  # where the pixels of a line follow each other they are lanes as well


def is_channels_last(x: Tensor) -> bool:
    """Whether a pixel's channels lie side by side in the batch."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def in_format(x: Tensor, channels_last: bool) -> Tensor:
    """The batch in one of the two memory formats."""
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def new_planes(like: Tensor, shape: tuple[int, ...], channels_last: bool) -> Tensor:
    """Planes of this shape, ``(chunks, channels, height, width, lanes)``, to be filled."""
    chunks, channels, height, width, lanes = shape
    if channels_last:
        return like.new_empty(chunks, height, width, channels, lanes).permute(0, 3, 1, 2, 4)
    return like.new_empty(shape)


def to_planes(x: Tensor, padding: list[int], channels_last: bool) -> Tensor:
    """The batch as planes with so much zero padding above and below, left and right; missing items are zero."""
    batch, channels, height, width = x.shape
    most = _MOST_LANES if channels_last or height == width == 1 else _MOST_LANES_OF_LINE
    chunks = max(1, -(-batch // most))
    lanes = -(-max(1, batch) // chunks // _TILE) * _TILE
    items = in_format(x, channels_last).permute(0, 2, 3, 1) if channels_last else x
    items = items.reshape(batch, channels * height * width)
    inner = new_planes(x, (chunks, channels, height, width, lanes), channels_last)
    turned = _as_matrices(inner, channels_last)
    for chunk in range(chunks):  # PyTorch turns one matrix around four times as fast as a batch of them
        part = items[chunk * lanes : (chunk + 1) * lanes]
        turned[chunk, :, : len(part)].copy_(part.t())
        turned[chunk, :, len(part) :].zero_()
    if padding == [0, 0]:
        return inner
    top, left = padding
    planes = new_planes(x, (chunks, channels, height + 2 * top, width + 2 * left, lanes), channels_last).zero_()
    planes[:, :, top : top + height, left : left + width].copy_(inner)
    return planes


def from_planes(planes: Tensor, batch: int, channels_last: bool) -> Tensor:
    """The batch that such planes without padding are of."""
    _, channels, height, width, lanes = planes.shape
    item = (height, width, channels) if channels_last else (channels, height, width)
    x = planes.new_empty(batch, *item)
    for chunk, turned in enumerate(_as_matrices(planes, channels_last)):
        part = x[chunk * lanes : (chunk + 1) * lanes].view(-1, len(turned))
        part.copy_(turned[:, : len(part)].t())
    return x.permute(0, 3, 1, 2) if channels_last else x


def _as_matrices(planes: Tensor, channels_last: bool) -> Tensor:
    """One for each chunk, its rows in the order in which an item's numbers lie."""
    in_memory = planes.permute(0, 2, 3, 1, 4) if channels_last else planes
    return in_memory.view(len(planes), planes[0, ..., 0].numel(), planes.shape[-1])
