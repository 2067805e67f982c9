"""Batches as training's kernels want them: the items side by side, lanes of a vector, for each pixel.

A chunk of the batch, small enough for a cache, is ``(channels, height, width, lanes)``. Channels last: in memory, a
pixel's channels lie in front of its lanes, else in front of the height.
"""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

_TILE = 16  # a kernel's
_kept = threading.local()
MOST_OF_VECTOR, MOST_OF_PLANE = 128, 16  # items in a chunk


def is_channels_last(x: Tensor) -> bool:
    """Whether a pixel's channels lie side by side in the batch."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def in_format(x: Tensor, channels_last: bool) -> Tensor:
    """The batch in one of the two memory formats."""
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def chunk_size(items: int, is_vector: bool) -> int:
    """Into how large chunks to cut a batch of vectors or planes: equal ones, for a kernel to fill its lanes."""
    chunks = max(1, -(-items // (MOST_OF_VECTOR if is_vector else MOST_OF_PLANE)))
    return max(1, -(-items // chunks))


def batch_layout_memory(purpose: str, x: Tensor, margin: Sequence[int], channels_last: bool) -> Tensor:
    """Planes for a chunk of a batch, with so many pixels above and below, left and right of it.

    Each thread has one piece of memory for each purpose: to get megabytes anew takes as long as to fill them.
    """
    items, channels, height, width = x.shape
    lanes = -(-max(1, items) // _TILE) * _TILE
    height, width = height + 2 * margin[0], width + 2 * margin[1]
    if channels_last:
        room = pitch(channels)
        memory = _memory(purpose, height * width * room * lanes, x.dtype)
        return memory.view(height, width, room, lanes)[:, :, :channels].permute(2, 0, 1, 3)
    return _memory(purpose, channels * height * width * lanes, x.dtype).view(channels, height, width, lanes)


def pitch(channels: int) -> int:
    """For how many channels a pixel has room, channels last: an even number would share few places of a first cache."""
    return channels | 1


def _memory(purpose: str, numbers: int, dtype: torch.dtype) -> Tensor:
    memory: Tensor | None = getattr(_kept, purpose, None)
    if memory is None or memory.dtype != dtype or len(memory) < numbers:
        memory = torch.empty(numbers, dtype=dtype)
        setattr(_kept, purpose, memory)
    return memory[:numbers]


def new_batch(like: Tensor, shape: Sequence[int], channels_last: bool) -> Tensor:
    """A batch to be filled."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format)
