"""A layer under a mask, and what it leaves to others: to keep dropped weights at zero, and to store its weight."""

from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparbor.distributed.shards import held, held_part, is_sharded, whole
from sparbor.errors import ArgumentError, StateError
from sparbor.nn.layers import is_transposed, row_groups
from sparbor.nn.masks import MaskFacts, Mover, fill_in_place, mask_in_place, masked, scatter
from sparbor.nn.weight_norm import lengths, norm_of, weight_of
from sparbor.nn.wrapping import Wrapper, plain_layer
from sparbor.recipe.pattern import Pattern
from sparbor.topology.matrix import (
    channels_first,
    channels_last,
    from_matrix,
    input_row,
    outputs_first,
    take_columns,
    to_matrix,
)

Mode = Literal["n", "d"]
Storage = Literal["masked", "compact"]
STORAGES: tuple[Storage, ...] = ("masked", "compact")


class MaskController(Protocol):
    """Who keeps a layer's dropped weights at zero while it trains."""

    def backward_came(self, layer: "MaskedLayer") -> None:
        """A backward pass has come to the layer's weight, in either mode; not called for sharded ones."""

    def gradient_came(self, layer: "MaskedLayer", gradient: Tensor) -> None:
        """A backward pass is about to add ``gradient``, not masked yet, to that of the layer's weight."""

    def needs_gradient(self) -> bool:
        """Whether backward passes are to bring the gradient of dropped weights as well now."""

    def mask_changed(self, layer: "MaskedLayer", changed: Tensor) -> None:
        """``changed`` weights have just become active or inactive."""

    def parameter_replaced(self, old: nn.Parameter, new: nn.Parameter, move: Mover) -> None:
        """The layer has another parameter now; ``move`` makes what belongs to it of what belonged to the old one."""

    def unfinished(self) -> str | None:
        """In a sentence, why its layers are not as sparse yet as they are to become, or ``None`` if they are."""

    def detach(self) -> None:
        """Stop keeping."""


class MaskedLayer(Wrapper):
    """A wrapper and the mask of its weight: what is known of the mask, and how it lies on weights and gradients.

    Patterns see weight and mask as a matrix ``(outputs, fan_in)``, rows and columns in an order. A pattern that sees a
    convolution's inputs channels last sees them so after they have been put in order.

    Attributes:
        storage: how the weight is to be stored once that pays.
        compact: whether the parameter holds the active weights alone at present.
        controller: who keeps the dropped weights at zero, if anybody does.
        facts: what has been made of the mask.
    """

    name: str
    pattern: Pattern
    mask: Tensor
    dendrite_mode: Tensor
    neuron_order: Tensor
    input_order: Tensor
    storage: Storage = "masked"
    dendrites: Any  # the sparbor.nn.dendrites.Dendrites that may grow here, or None

    def __init__(self) -> None:
        super().__init__()
        self.compact = False
        self.controller: MaskController | None = None
        self.facts = MaskFacts()
        self._gradient_hook: RemovableHandle | None = None

    @property
    def mode(self) -> Mode:
        """``'n'`` (neuron mode, dense) or ``'d'`` (dendrite mode, sparse)."""
        return "d" if self.dendrite_mode.item() else "n"

    @property
    def weight(self) -> Tensor:
        """The dense weight, dropped ones included.

        In compact storage it is made from the active weights each time: to change it in place changes nothing. Its
        gradient goes to them, and to the controller, where that needs all of it. With weight norm it is computed, too.
        """
        if self.parameter_name != self.weight_name:
            layer = plain_layer(self)
            normed = norm_of(layer)
            assert normed is not None  # the only way in which a weight is computed here
            return weight_of(*normed.parts(layer), normed.dim)
        if not self.compact:
            return self.parameter
        weight = scatter(self.parameter, self.active_positions(), self.mask.shape)
        if weight.requires_grad and self.controller is not None and self.controller.needs_gradient():
            weight.register_hook(partial(self.controller.gradient_came, self))  # type: ignore[no-untyped-call]
        return weight

    # As patterns see it.

    @property
    def groups(self) -> int:
        """Sets of neurons that no slot spans: convolution groups, attention's query, key and value, or 1."""
        return row_groups(plain_layer(self), self.weight_name)

    @property
    def outputs_first(self) -> tuple[int, ...]:
        """The weight's shape with the neurons in front: ``(outputs, inputs / groups, *kernel)``."""
        return outputs_first(self.mask.shape, self.groups, self._transposed)

    @property
    def input_row(self) -> int | None:
        """How many of the matrix' inputs lie in one row, of which branches begin anew; ``None``: all of them."""
        if not self.pattern.channels_last:
            return None
        dilation = getattr(plain_layer(self), "dilation", (1,))
        return input_row(self.outputs_first, dilation[-1])

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
        matrix = _permuted(rows, self.neuron_order, self.input_order)
        return channels_last(matrix, self.outputs_first) if self.pattern.channels_last else matrix

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """A matrix ``(outputs, fan_in)`` as patterns see it as values of the weight's shape."""
        if self.pattern.channels_last:
            matrix = channels_first(matrix, self.outputs_first)
        rows = _permuted(matrix, self.neuron_order.argsort(), self.input_order.argsort())
        return from_matrix(rows, self.mask.shape, self.groups, self._transposed)

    def weight_matrix(self) -> Tensor:
        """The weight as patterns see it, ``(outputs, fan_in)``."""
        return self.to_matrix(whole(self.weight.detach()))

    @property
    def _transposed(self) -> bool:
        return is_transposed(plain_layer(self))

    def direction_lengths(self) -> Tensor | None:
        """With weight norm, the norm of what the mask leaves of the direction, where this rank holds it whole."""
        if self.parameter_name == self.weight_name or is_sharded(self.parameter):
            return None
        normed = norm_of(plain_layer(self))
        return None if normed is None else lengths(self.parameter.detach() * self.mask, normed.dim)

    # What is known of the mask.

    def active_weights(self) -> int:
        """How many weights the mask keeps."""
        return self.facts.active(self.mask)

    def active_positions(self) -> Tensor:
        """Where the active weights lie in the flattened weight, in order."""
        positions = self.facts.positions(self.mask)
        if self.compact and len(positions) != len(self.parameter):
            raise StateError(
                f"the mask of layer {self.name!r} was changed in place, and its active weights are stored alone:"
                " change it by set_mask()"
            )
        return positions

    def bits(self) -> Tensor:
        """What weights keep of their bits (see :func:`bits_of`), of the part that this rank holds."""
        return self.facts.bits(self.mask, self.parameter)

    def overwrite_mask(self, mask: Tensor, positions: Tensor | None) -> None:
        """The mask becomes this one, of which the positions of the active weights may be known already."""
        self.mask.copy_(mask)
        self.facts.overwritten(self.mask, positions)

    # How it lies on weights and gradients.

    def apply_mask(self) -> None:
        """Set every dropped weight to zero."""
        if not self.compact and self.dendrite_mode:
            mask_in_place(held(self.parameter.detach()), self.bits())

    def drop(self, dropped: Tensor) -> None:
        """Set these weights of a dense parameter to zero."""
        # Not multiplied: that leaves NaN where a dropped weight is infinite.
        fill_in_place(held(self.parameter.detach()), held_part(dropped, self.parameter), 0)

    def hold(self, parameter: nn.Parameter, *, compact: bool) -> None:
        """Have this parameter in place of the old one; ``compact``: it holds the active weights alone."""
        self._unhook_gradient()
        self.main_module._parameters[self.weight_name] = parameter
        self.compact = compact
        self._hook_gradient()

    def _hook_gradient(self) -> None:
        """Mask the gradient whenever a backward pass brings one; a shard is no part of the graph: it is put there."""
        # In the forward pass alone the mask would be too late: attention, for one, reads `out_proj.weight` itself.
        if self._gradient_hook is None and self.parameter.requires_grad:
            hooked: Any = self.parameter  # torch has not typed these hooks
            if is_sharded(self.parameter):
                self._gradient_hook = hooked.register_post_accumulate_grad_hook(self._mask_shard_of_gradient)
            else:
                self._gradient_hook = hooked.register_hook(self._mask_gradient)

    def _unhook_gradient(self) -> None:
        if self._gradient_hook is not None:
            self._gradient_hook.remove()
            self._gradient_hook = None

    def _mask_gradient(self, gradient: Tensor) -> Tensor | None:
        if self.controller is not None:
            self.controller.backward_came(self)
        if self.compact or self.mode == "n":
            return None
        if self.controller is not None:
            self.controller.gradient_came(self, gradient)
        return masked(gradient, self.mask, self.bits())

    @torch.no_grad()
    def _mask_shard_of_gradient(self, weight: Tensor) -> None:
        if self.mode == "d" and weight.grad is not None:
            if self.controller is not None:
                self.controller.gradient_came(self, weight.grad)
            mask_in_place(held(weight.grad), self.bits())


def _permuted(matrix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The matrix with its rows and columns in these orders."""
    matrix = matrix.index_select(0, rows) if _moves(rows) else matrix
    return take_columns(matrix, columns) if _moves(columns) else matrix


def _moves(order: Tensor) -> bool:
    return not torch.equal(order, torch.arange(len(order), device=order.device))
