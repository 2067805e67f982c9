"""A layer under a mask, and what it leaves to others: to keep dropped weights at zero, and to store its weight."""

from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from sparbor.distributed.shards import held, held_part
from sparbor.errors import StateError
from sparbor.nn.active_weights import Mover
from sparbor.nn.gradient_hook import GradientHook
from sparbor.nn.mask_facts import MaskFacts
from sparbor.nn.masking import mask_in_place, masked
from sparbor.nn.pattern_view import PatternView

Mode = Literal["n", "d"]
Storage = Literal["masked", "compact"]
STORAGES: tuple[Storage, ...] = ("masked", "compact")


class MaskController(Protocol):
    """Who keeps a layer's dropped weights at zero while it trains."""

    def backward_came(self, layer: "MaskedLayer") -> None:
        """A backward pass has come to the layer's weight, in either mode; not called for sharded ones."""

    def gradient_came(self, layer: "MaskedLayer", gradient: Tensor) -> None:
        """A backward pass is about to add ``gradient``, not masked yet, to that of the layer's weight."""

    def needs_gradient(self, layer: "MaskedLayer") -> bool:
        """Whether backward passes are to bring the gradient of dropped weights as well now."""

    def mask_changed(self, layer: "MaskedLayer", changed: Tensor) -> None:
        """``changed`` weights have just become active or inactive."""

    def parameter_replaced(self, old: nn.Parameter, new: nn.Parameter, move: Mover) -> None:
        """The layer has another parameter now; ``move`` makes what belongs to it of what belonged to the old one."""

    def unfinished(self) -> str | None:
        """In a sentence, why its layers are not as sparse yet as they are to become, or ``None`` if they are."""

    def detach(self) -> None:
        """Stop keeping."""


class WeightStorage(Protocol):
    """How a layer's parameter holds its weight, and how the layer is computed from that."""

    compact: bool  # whether the parameter holds the active weights alone

    def dense(self, layer: "MaskedLayer") -> Tensor:
        """The dense weight, dropped weights included."""

    def active(self, layer: "MaskedLayer") -> Tensor:
        """The active weights alone, in the order of the mask."""

    def run(self, layer: "MaskedLayer", args: Any, kwargs: Any) -> Any:
        """What the layer within computes of its active weights."""


class MaskedLayer(PatternView):
    """A wrapper and the mask of its weight: what is known of the mask, and how it lies on weights and gradients."""

    dendrite_mode: Tensor
    storage: Storage  # how the weight is to be stored once that pays
    _weight_storage: WeightStorage  # how it is stored now

    def __init__(self) -> None:
        super().__init__()
        self._controller: MaskController | None = None
        self._facts = MaskFacts()
        self._gradient_hook = GradientHook()

    @property
    def controller(self) -> MaskController | None:
        """Who keeps the dropped weights at zero, if anybody does."""
        return self._controller

    @property
    def mode(self) -> Mode:
        """``'n'`` (neuron mode, dense) or ``'d'`` (dendrite mode, sparse)."""
        return "d" if self.dendrite_mode.item() else "n"

    @property
    def weight(self) -> Tensor:
        """The dense weight, dropped ones included.

        In compact storage it is made from the active weights each time: to change it in place changes nothing.
        """
        return self._weight_storage.dense(self)

    @property
    def compact(self) -> bool:
        """Whether the parameter holds the active weights alone at present."""
        return self._weight_storage.compact

    # What is known of the mask.

    @property
    def facts(self) -> MaskFacts:
        """What has been made of the mask."""
        return self._facts

    def active_weights(self) -> int:
        """How many weights the mask keeps."""
        return self._facts.active(self.mask)

    def active_positions(self) -> Tensor:
        """Where the active weights lie in the flattened weight, in order."""
        positions = self._facts.positions(self.mask)
        if self.compact and len(positions) != len(self.parameter):
            raise StateError(
                f"the mask of layer {self.name!r} was changed in place, and its active weights are stored alone:"
                " change it by set_mask()"
            )
        return positions

    def bits(self) -> Tensor:
        """What weights keep of their bits (see :func:`bits_of`), of the part that this rank holds."""
        return self._facts.bits(self.mask, self.parameter)

    def overwrite_mask(self, mask: Tensor, positions: Tensor | None) -> None:
        """The mask becomes this one, of which the positions of the active weights may be known already."""
        self.mask.copy_(mask)
        self._facts.overwritten(self.mask, positions)

    # How it lies on weights and gradients.

    def apply_mask(self) -> None:
        """Set every dropped weight to zero."""
        if not self.compact and self.dendrite_mode:
            mask_in_place(held(self.parameter.detach()), self.bits())

    def drop(self, dropped: Tensor) -> None:
        """Set these weights of a dense parameter to zero."""
        # Not multiplied: that leaves NaN where a dropped weight is infinite.
        held(self.parameter).masked_fill_(held_part(dropped, self.parameter), 0)

    def hold(self, parameter: nn.Parameter, storage: WeightStorage) -> None:
        """Have this parameter in place of the old one, which holds the weight like this."""
        self._gradient_hook.take_off()
        self.main_module._parameters[self.weight_name] = parameter
        self._weight_storage = storage
        self._hook_gradient()

    def _hook_gradient(self) -> None:
        # In the forward pass alone the mask would be too late: attention, for one, reads `out_proj.weight` itself.
        self._gradient_hook.put_on(self.parameter, self._mask_gradient, self._mask_shard_of_gradient)

    def _mask_gradient(self, gradient: Tensor) -> Tensor | None:
        if self._controller is not None:
            self._controller.backward_came(self)
        if self.compact or self.mode == "n":
            return None
        if self._controller is not None:
            self._controller.gradient_came(self, gradient)
        return masked(gradient, self.mask, self.bits())

    @torch.no_grad()
    def _mask_shard_of_gradient(self, weight: Tensor) -> None:
        if self.mode == "d" and weight.grad is not None:
            if self._controller is not None:
                self._controller.gradient_came(self, weight.grad)
            mask_in_place(held(weight.grad), self.bits())
