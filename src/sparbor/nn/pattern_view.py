"""A layer's weight as patterns see it: a matrix, whose rows and columns may stand in another order."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.nn.layers import is_transposed, row_groups
from sparbor.nn.wrapping import Wrapper, plain_layer
from sparbor.topology.matrix import from_matrix, outputs_first, to_matrix


class GrownDendrites(Protocol):
    """A layer's dendrites, of which the first ``count`` generations compute; :mod:`sparbor.nn.dendrites` has them."""

    count: int

    def __call__(self, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the layer gives, ``y``, with what its dendrites make of the same input."""

    def permute_neurons(self, neurons: Tensor | None, inputs: Tensor | None) -> None:
        """Take the order in which the pattern sees the layer's neurons and inputs."""

    def grow_to(self, count: int) -> None:
        """Let the first ``count`` generations compute."""

    def unwrap(self, layer: nn.Module) -> nn.Module:
        """The plain ``layer`` with plain dendrites, if any have grown."""


class PatternView(Wrapper):
    """A wrapper whose weight and mask are a matrix ``(outputs, fan_in)`` as well, rows and columns in an order."""

    name: str
    mask: Tensor
    neuron_order: Tensor
    input_order: Tensor
    dendrites: GrownDendrites | None  # which have the same neurons and inputs

    @property
    def groups(self) -> int:
        """Sets of neurons that no slot spans: convolution groups, attention's query, key and value, or 1."""
        return row_groups(plain_layer(self), self.weight_name)

    @property
    def outputs_first(self) -> tuple[int, ...]:
        """The weight's shape with the neurons in front: ``(outputs, inputs / groups, *kernel)``."""
        return outputs_first(self.mask.shape, self.groups, self._transposed)

    def permute_neurons(self, neurons: Tensor | None = None, inputs: Tensor | None = None) -> None:
        """From now on the pattern sees the layer's neurons, or the inputs of each, in this order; weights stay."""
        for order, given in ((self.neuron_order, neurons), (self.input_order, inputs)):
            if given is not None:
                if not torch.equal(given.sort().values, torch.arange(len(order), device=given.device)):
                    raise ArgumentError(
                        f"an order of layer {self.name!r} has shape {tuple(given.shape)}: it must hold each of the"
                        f" numbers 0 to {len(order) - 1} once"
                    )
                order.copy_(given)
        if self.dendrites is not None:
            self.dendrites.permute_neurons(neurons, inputs)

    def is_permuted(self) -> bool:
        """Whether the pattern sees neurons or inputs in another order than the weight has them."""
        return _moves(self.neuron_order) or _moves(self.input_order)

    def to_matrix(self, values: Tensor) -> Tensor:
        """Values of the weight's shape (its mask, its gradient) as patterns see them, ``(outputs, fan_in)``."""
        rows = to_matrix(values, self.groups, self._transposed)
        return _permuted(rows, self.neuron_order, self.input_order)

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """A matrix ``(outputs, fan_in)`` as patterns see it as values of the weight's shape."""
        rows = _permuted(matrix, self.neuron_order.argsort(), self.input_order.argsort())
        return from_matrix(rows, self.mask.shape, self.groups, self._transposed)

    @property
    def _transposed(self) -> bool:
        return is_transposed(self.main_module)


def _permuted(matrix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The matrix with its rows and columns in these orders."""
    matrix = matrix.index_select(0, rows) if _moves(rows) else matrix
    # Not by index_select, which takes ten times as long for columns.
    return matrix.gather(1, columns.expand(len(matrix), -1)) if _moves(columns) else matrix


def _moves(order: Tensor) -> bool:
    return not torch.equal(order, torch.arange(len(order), device=order.device))
