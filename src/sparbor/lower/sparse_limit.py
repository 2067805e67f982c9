"""Up to which density a layer is worth storing sparse on this machine, as far as is known before it is deployed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from sparbor.native import built, choose_kernel_set, convolution_share, linear_share
from sparbor.ops.convolutions import window_of
from sparbor.program.windows import geometry, planes_of


def sparse_limit(layer: nn.Module, shapes: tuple[Sequence[int], Sequence[int]] | None) -> float | None:
    """The density above which the engine runs the layer faster dense, one input at a time; `None` if it is not known.

    `shapes` are those of what the layer reads and computes, with the batch in front; a linear layer without them is
    taken to read one vector of each input.
    """
    if not built:
        return None
    if isinstance(layer, nn.Linear):
        return linear_share(1 if shapes is None else math.prod(shapes[0][1:-1]), choose_kernel_set())
    if shapes is None or not all(len(shape) in (3, 4) for shape in shapes):
        return None
    x, y = (planes_of(tuple(shape[1:])) for shape in shapes)
    return convolution_share(geometry(window_of(layer), x, y), choose_kernel_set())
