"""The layers that are made sparse: each with its mask's module, and its weight as it was and as it becomes.

Until all of them are done the model itself stays as it is, but for the numbers in its weights: the modules are put into
it at the end, and not at all if something goes wrong before.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparbor.allocation.survey import LayerEligibility
from sparbor.nn.layers import is_transposed
from sparbor.nn.masks import fill_in_place
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.weight_norm import lengths, norm_of
from sparbor.nn.wrapping import plain_layer
from sparbor.oneshot.rows import has_rows
from sparbor.topology.matrix import from_matrix


class SparseLayer:
    """One layer that becomes sparse, ``module``, which its model does not contain yet.

    ``holders`` are the plain layers that have the weight: one, or several that are tied.
    """

    def __init__(self, finding: LayerEligibility, module: PAINeuronModule, holders: Sequence[nn.Module]) -> None:
        self.finding = finding
        self.module = module
        self.holders = holders
        self.mask: Tensor | None = None  # once it is pruned
        self._dense: list[Tensor] | None = None

    @property
    def layer(self) -> nn.Module:
        """The plain layer."""
        return plain_layer(self.module)

    @property
    def watchable(self) -> bool:
        """Whether it is a layer that is called with rows; attention and recurrent layers read their weights within."""
        return self.finding.weight_name == "weight" and all(map(has_rows, self.holders))

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias that can take up what is to be added to the layer's answers, if it has one of its own."""
        bias = getattr(self.layer, "bias", None)
        return bias if len(self.holders) == 1 and isinstance(bias, nn.Parameter) else None

    def columns(self) -> Tensor:
        """For each column of the matrix as the pattern sees it, which one it is of :mod:`sparbor.oneshot.rows`."""
        outputs, *inputs = self.module.outputs_first
        numbers = torch.arange(math.prod(inputs), device=self.module.mask.device).expand(outputs, -1)
        shaped = from_matrix(numbers, self.module.mask.shape, self.module.groups, is_transposed(self.layer))
        return self.module.to_matrix(shaped)[0]

    @torch.no_grad()
    def change(self, matrix: Tensor, mask: Tensor, more_bias: Tensor | None = None) -> None:
        """Take this weight and its mask, as the pattern sees them, and so much more bias; keep what was."""
        self._dense = [parameter.data for parameter in self._changed()]
        for parameter in self._changed():
            parameter.data = parameter.data.clone()
        self.mask = self.module.from_matrix(mask)
        weight = self.module.from_matrix(matrix)
        fill_in_place(weight, ~self.mask, 0)
        self.module.parameter.data.copy_(weight)
        if (normed := norm_of(self.layer)) is not None:
            direction, length = normed.parts(self.layer)
            length.data.copy_(lengths(direction.data, normed.dim))
        if more_bias is not None and self.bias is not None:
            self.bias.data.add_(more_bias)

    def density(self) -> float:
        """The share of its weights that is left."""
        assert self.mask is not None
        return int(self.mask.count_nonzero()) / self.mask.numel()

    def swap(self) -> None:
        """The numbers that were, in the place of those that are now, or the other way round."""
        if self._dense is not None:
            self._dense, now = [parameter.data for parameter in self._changed()], self._dense
            for parameter, numbers in zip(self._changed(), now, strict=True):
                parameter.data = numbers

    @torch.no_grad()
    def settle(self) -> None:
        """Take the new numbers for good, into the memory of those that were, which others may refer to."""
        assert self._dense is not None
        assert self.mask is not None
        for parameter, memory in zip(self._changed(), self._dense, strict=True):
            memory.copy_(parameter.data)
            parameter.data = memory
        self._dense = None
        self.module.set_mask(self.mask)

    def undo(self) -> None:
        """The layer as it was, without a mask."""
        self.swap()
        self._dense = None
        self.module.unwrap()

    def _changed(self) -> list[nn.Parameter]:
        parts = [self.module.parameter]
        if (normed := norm_of(self.layer)) is not None:
            parts.append(normed.parts(self.layer)[1])  # type: ignore[arg-type]  # it is a parameter
        return [*parts, self.bias] if self.bias is not None else parts


@contextmanager
def dense(layers: Iterable[SparseLayer]) -> Iterator[None]:
    """Within, the model is what it was."""
    layers = list(layers)
    for layer in layers:
        layer.swap()
    try:
        yield
    finally:
        for layer in layers:
            layer.swap()
