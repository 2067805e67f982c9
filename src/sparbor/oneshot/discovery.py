"""In which order a model calls its layers, which of them read the very same input, and how large what they read is.

It is found while the dense model runs through all batches once: of the first one comes the order, of all of them the
mean squares.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sparbor.oneshot.batches import Batches
from sparbor.oneshot.rows import geometry, rows_of, without_bias
from sparbor.oneshot.targets import SparseLayer
from sparbor.oneshot.watching import Watch


@dataclass
class Sizes:
    """Sums over all rows of a layer in the dense model: the squares of each input ``(groups, fan_in)``, of the output."""

    inputs: Tensor
    output: float = 0.0


@dataclass
class Discovery:
    """``groups``: layers in the order of their first calls, those together that read the very same rows.

    ``calls``: how often a plain layer is called in one run; ``sizes``: of the layers that are called.
    """

    groups: list[list[SparseLayer]] = field(default_factory=list)
    calls: dict[nn.Module, int] = field(default_factory=dict)
    sizes: dict[SparseLayer, Sizes] = field(default_factory=dict)


class _Inputs:
    """Numbers for tensors: the same one for the same tensor, as long as nobody has changed what is in it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[weakref.ref[Tensor], int]] = {}
        self._count = 0

    def number(self, x: Tensor) -> int:
        key = id(x), 0 if x.is_inference() else x._version
        known = self._known.get(key)
        if known is None or known[0]() is not x:  # another tensor may have taken its place in memory
            self._count += 1
            known = self._known[key] = weakref.ref(x), self._count
        return known[1]


def discover(model: nn.Module, batches: Batches, layers: Sequence[SparseLayer]) -> Discovery:
    """Run the dense model through the batches and watch its layers; those that nobody calls are in no group."""
    found, inputs = Discovery(), _Inputs()
    owner = {holder: layer for layer in layers for holder in layer.holders}
    read: dict[SparseLayer, list[int]] = {}
    counted: Tensor | None = None
    first = True

    def seen(holder: nn.Module, x: Tensor, y: Tensor) -> None:
        layer = owner[holder]
        if first:
            found.calls[holder] = found.calls.get(holder, 0) + 1
            read.setdefault(layer, []).append(inputs.number(x))
        if layer not in read:
            return  # called by a later batch alone: there is no knowing when
        for rows, answers in rows_of(holder, x, y, counted):
            squares = rows.square().sum(1, dtype=torch.float64)
            sizes = found.sizes.setdefault(layer, Sizes(torch.zeros_like(squares)))
            sizes.inputs += squares
            sizes.output += float(without_bias(holder, answers).square().sum(dtype=torch.float64))

    watch = Watch(owner, seen)
    with watch.watching():
        for number, call in enumerate(batches):
            counted = call.counted
            watch.run(model, number, call)
            first = False
    together: dict[tuple[object, ...], list[SparseLayer]] = {}
    for layer, numbers in read.items():
        alone = layer if len(layer.holders) > 1 else None
        together.setdefault((alone, geometry(layer.layer), tuple(numbers)), []).append(layer)
    found.groups = list(together.values())
    return found
