"""A layer's weight as the matrix ``(outputs, fan_in)`` that patterns and rewiring see: one row for each neuron.

A Linear layer's weight is that matrix. A convolution's, ``(outputs, inputs / groups, *kernel)``, becomes it when all
axes but the first are flattened. A transposed convolution's is stored as ``(inputs, outputs / groups, *kernel)``: its
first two axes are exchanged before, within each group, and each kernel is turned around, which makes it the matrix of
the convolution that the engine runs for it: a branch is the same 32 inputs here and there. Masks, gradients and
whatever else has the weight's shape go the same way.

So a convolution's inputs are in the order in which PyTorch stores kernels, channel by channel. Patterns that are
*channels last* see the columns in the order in which the engine reads bytes: kernel row, kernel column, channel.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_matrix(weight: Tensor, groups: int = 1, transposed: bool = False) -> Tensor:
    """Values of the weight's shape as ``(outputs, fan_in)``."""
    return (_exchange(weight, groups) if transposed else weight).flatten(1)


def from_matrix(matrix: Tensor, shape: Sequence[int], groups: int = 1, transposed: bool = False) -> Tensor:
    """The inverse: a matrix ``(outputs, fan_in)`` as values of the weight's ``shape``."""
    kernels = matrix.reshape(outputs_first(shape, groups, transposed))
    return _exchange(kernels, groups) if transposed else kernels


def outputs_first(shape: Sequence[int], groups: int = 1, transposed: bool = False) -> tuple[int, ...]:
    """The weight's ``shape`` with the neurons in front: ``(outputs, inputs / groups, *kernel)``."""
    if not transposed:
        return tuple(shape)
    inputs, outputs_of_group, *kernel = shape
    return (outputs_of_group * groups, inputs // groups, *kernel)


def channels_last(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """The matrix with its columns channels last; ``shape`` is that of :func:`outputs_first`."""
    return matrix.reshape(-1, *shape[1:]).movedim(1, -1).flatten(1)


def channels_first(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """The inverse."""
    return matrix.reshape(-1, *shape[2:], shape[1]).movedim(-1, 1).flatten(1)


def input_row(shape: Sequence[int], dilation: int = 1) -> int:
    """How many inputs, channels last, lie side by side in memory, for a weight of such a ``shape``.

    They are a kernel row's, or a single column's where that row is dilated; a linear layer's are all of them.
    """
    return shape[1] * (shape[-1] if len(shape) > 2 and dilation == 1 else 1)


def take_columns(matrix: Tensor, columns: Tensor) -> Tensor:
    """The matrix with its columns in this order."""
    if matrix.device.type == "cpu" and matrix.dtype in (torch.float32, torch.bool):  # NumPy takes a third of the time
        return torch.from_numpy(np.take(matrix.numpy(), columns.numpy(), axis=1))
    return matrix.gather(1, columns.expand(len(matrix), -1))  # index_select takes ten times as long for columns


def _exchange(weight: Tensor, groups: int) -> Tensor:
    """The first two axes of each group's part exchanged and the kernels turned around, which undoes itself."""
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    return by_group.transpose(1, 2).flatten(0, 1).flip([*range(2, weight.dim())])
