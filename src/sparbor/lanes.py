"""Batches as training's kernels want them: the items side by side, lanes of a vector, for each pixel.

``(batch, channels, height, width)`` becomes ``(chunks, channels, height, width, lanes)``. A chunk of the batch is small
enough for what an output reads to stay in a cache. Channels last: in memory, a pixel's channels lie in front of its
lanes, else in front of the height.
"""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

_TILE = 16  # a kernel's
_kept = threading.local()
MOST_LANES_OF_VECTOR, MOST_LANES_OF_PLANE = 128, 32


def is_channels_last(x: Tensor) -> bool:
    """Whether a pixel's channels lie side by side in the batch."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def in_format(x: Tensor, channels_last: bool) -> Tensor:
    """The batch in one of the two memory formats."""
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def planes_for(purpose: str, x: Tensor, margin: Sequence[int], channels_last: bool, most_lanes: int) -> Tensor:
    """Planes for the batch with so many pixels above and below, left and right of it, in chunks of so many lanes.

    Each thread has one piece of memory for each purpose: to get megabytes anew takes as long as to fill them.
    """
    batch, channels, height, width = x.shape
    chunks = max(1, -(-batch // most_lanes))
    lanes = -(-max(1, batch) // chunks // _TILE) * _TILE
    height, width = height + 2 * margin[0], width + 2 * margin[1]
    if channels_last:
        room = pitch(channels)
        memory = _memory(purpose, chunks * height * width * room * lanes, x.dtype)
        return memory.view(chunks, height, width, room, lanes)[:, :, :, :channels].permute(0, 3, 1, 2, 4)
    return _memory(purpose, chunks * channels * height * width * lanes, x.dtype).view(
        chunks, channels, height, width, lanes
    )


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
