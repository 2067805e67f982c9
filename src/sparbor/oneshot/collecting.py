"""The moments of layers that read the same rows: given in the pruned model, and answered in the dense one.

Both models run through each batch, the same modules with the weights of one and of the other, and no further than to
these layers.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.oneshot.moments import Inputs, Targets
from sparbor.oneshot.rows import rows_of, without_bias
from sparbor.oneshot.targets import SparseLayer, dense
from sparbor.oneshot.watching import Watcher


class Moments:
    """Those of the layers of one ``group``.

    ``targets`` are None where the two models do not give the layers equally many rows, as where a router sends tokens
    to experts: then a layer can only be asked to do what its dense weight does with the pruned model's rows.
    """

    def __init__(self, group: Sequence[SparseLayer]) -> None:
        self.group = group
        module = group[0].module
        groups, fan_in, device = module.groups, math.prod(module.outputs_first[1:]), module.mask.device
        # A bias can make up for what changes in the mean.
        centered = all(layer.bias is not None for layer in group)
        self.inputs = Inputs.of(groups, fan_in, device, centered=centered)
        self.targets: dict[SparseLayer, Targets] | None = {
            layer: Targets.of(groups, layer.module.outputs_first[0] // groups, fan_in, device) for layer in group
        }
        self._owner = {holder: layer for layer in group for holder in layer.holders}
        self._given: list[Tensor] = []  # inputs of one batch, in the order of calls
        self._met: dict[SparseLayer, int] = {}  # how many calls of each the dense model has made in that batch
        self._counted: Tensor | None = None

    def collect(self, watcher: Watcher, calls: Mapping[nn.Module, int], done: Sequence[SparseLayer]) -> None:
        """Go through the batches once; ``done`` are the layers that have been pruned."""
        for number, call in enumerate(watcher.batches):
            self._counted = call.counted
            watcher.run(number, call, self.group[0].holders, self._was_given, calls)
            if self.targets is not None:
                with dense(done):
                    watcher.run(number, call, self._owner, self._answered, calls)
            if any(met != len(self._given) for met in self._met.values()):
                self.targets = None
            self._given.clear()
            self._met.clear()
        targets = (self.targets or {}).values()
        if self.inputs.centered:
            self.inputs.center(targets)
        if not all(torch.isfinite(each).all() for each in (self.inputs.gram, *(each.cross for each in targets))):
            raise ArgumentError(
                f"layer {self.group[0].finding.name!r} is given NaN, infinity or numbers too large for float32 as the"
                " model runs through the batches: look for the layer or the input that they come from"
            )

    def _was_given(self, holder: nn.Module, x: Tensor, y: Tensor) -> None:
        self._given.append(x.detach())
        for rows, _ in rows_of(holder, x, y, self._counted):
            self.inputs.add(self.inputs.about_origin(rows))

    def _answered(self, holder: nn.Module, x: Tensor, y: Tensor) -> None:
        layer = self._owner[holder]
        call = self._met[layer] = self._met.get(layer, 0) + 1
        if self.targets is None or call > len(self._given) or self._given[call - 1].shape != x.shape:
            self.targets = None
            return
        for rows, answers in rows_of(holder, self._given[call - 1], y, self._counted):
            self.targets[layer].add(self.inputs.about_origin(rows), without_bias(holder, answers))


def sums_of_squares(watcher: Watcher, layers: Sequence[SparseLayer]) -> dict[SparseLayer, Tensor]:
    """Of each input ``(groups, fan_in)`` of the layers, in the model as it is, over all batches."""
    owner = {holder: layer for layer in layers for holder in layer.holders}
    sums: dict[SparseLayer, Tensor] = {}
    for number, call in enumerate(watcher.batches):

        def seen(holder: nn.Module, x: Tensor, y: Tensor, counted: Tensor | None = call.counted) -> None:
            for rows, _ in rows_of(holder, x, y, counted):
                squares = rows.square().sum(1, dtype=torch.float64)
                sums[owner[holder]] = sums.get(owner[holder], 0) + squares

        watcher.run(number, call, owner, seen, {})
    return sums
