"""The dendritic layer: an ordinary layer and the mask of its active synapses."""

from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from sparbor.errors import ArgumentError, StateError
from sparbor.matrix import from_matrix, outputs_first, to_matrix
from sparbor.pattern import Pattern, Slots
from sparbor.rewire import magnitude_mask

Mode = Literal["n", "d"]
WRAPPABLE = (
    nn.Linear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)


class Keeper(Protocol):
    """Who keeps a module's dropped weights at zero while it trains."""

    def gradient_came(self, module: "PAINeuronModule", gradient: Tensor) -> None:
        """A backward pass is about to add ``gradient``, not masked yet, to that of the module's weight."""

    def mask_changed(self, module: "PAINeuronModule", changed: Tensor) -> None:
        """``changed`` weights have just become active or inactive."""

    def detach(self) -> None:
        """Stop keeping."""


class PAINeuronModule(nn.Module):
    """A layer that is dense in neuron mode ``'n'`` and keeps only its active synapses in dendrite mode ``'d'``.

    ``y = main_module(x)`` with the weight ``W * mask``. The mask is a buffer of the weight's shape, all true in neuron
    mode; the state dict carries it with the mode. Attributes of ``main_module`` (``weight``, ``in_features``, ...) can
    be read from here.

    By itself the module multiplies by the mask in every forward pass, so it is right under any optimizer and as a
    copy. :func:`sparbor.perforate` makes that cheap: dropped weights are then really zero and nothing is multiplied.
    The gradient of dropped weights is zero in any case.

    Args:
        main_module: a Linear, Conv1d/2d/3d or ConvTranspose1d/2d/3d layer; it is not copied.
        name: what reports and errors call this layer.
        sparsity: the share of weights that ``set_mode('d')`` drops when called by hand, in [0, 1).
        pattern: which weights are kept together.

    Raises:
        ArgumentError: the layer is of another kind, or the pattern does not fit it.

    >>> import torch
    >>> layer = PAINeuronModule(torch.nn.Linear(64, 32), "hidden", sparsity=0.75)
    >>> layer.set_mode("d")
    >>> layer.get_sparsity(), layer.active_parameters()
    (0.75, 544)
    """

    mask: Tensor
    dendrite_mode: Tensor

    def __init__(
        self, main_module: nn.Module, name: str = "", *, sparsity: float = 0.9, pattern: Pattern | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.sparsity = check_sparsity(sparsity)
        self.pattern: Pattern = Slots() if pattern is None else pattern
        refusal = why_not_wrappable(main_module, self.pattern)
        if refusal:
            raise ArgumentError(f"layer {name!r} ({type(main_module).__name__}) cannot become dendritic: {refusal}")
        self.main_module = main_module
        weight = self.weight
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("dendrite_mode", torch.zeros((), dtype=torch.bool, device=weight.device))
        self.dendrites: Any = None  # the Dendrites that a perforator lets grow here
        self._keeper: Keeper | None = None
        self._multiplier: Tensor | None = None
        self._gradient_hook: RemovableHandle | None = None
        self._hook_gradient()
        self.register_load_state_dict_pre_hook(refuse_other_state)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_after_load)  # type: ignore[no-untyped-call]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "main_module":
                raise
            return getattr(self.main_module, name)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no keeper: they mask their weights themselves."""
        return {**self.__dict__, "_keeper": None, "_multiplier": None, "_gradient_hook": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Hooks on tensors are not copied with them."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._hook_gradient()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's output, from its active weights alone, and what its grown dendrites add."""
        if self._keeper is not None:
            y = self.main_module(*args, **kwargs)
        else:
            y = functional_call(self.main_module, {"weight": self.weight * self.mask}, args, kwargs)
        return y if self.dendrites is None else self.dendrites(y, *args, **kwargs)

    @property
    def weight(self) -> nn.Parameter:
        """The layer's weight, dropped ones included."""
        return cast(nn.Parameter, self.main_module.weight)

    @property
    def kept(self) -> bool:
        """Whether a perforator keeps the dropped weights at zero."""
        return self._keeper is not None

    def keep(self, keeper: Keeper) -> None:
        """From now on ``keeper`` sees to it that dropped weights are zero in every forward pass."""
        self._keeper = keeper
        self._hook_gradient()

    def release(self) -> None:
        """End :meth:`keep`, and tell the keeper, who then lets all of its layers go."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.detach()

    def unwrap(self) -> nn.Module:
        """The layer as it was, with zeros for its dropped weights; with its dendrites if some have grown."""
        self.release()
        if self._gradient_hook is not None:
            self._gradient_hook.remove()
            self._gradient_hook = None
        with torch.no_grad():
            self.weight.masked_fill_(~self.mask, 0)
        grown: nn.Module | None = self.dendrites and self.dendrites.unwrap(self.main_module)
        return grown or self.main_module

    @property
    def mode(self) -> Mode:
        """``'n'`` (neuron mode, dense) or ``'d'`` (dendrite mode, sparse)."""
        return "d" if self.dendrite_mode.item() else "n"

    def set_mode(self, mode: Mode) -> None:
        """Switch by hand; to stay in the mode the layer is in changes nothing.

        ``'d'`` keeps the weights of the largest magnitude at the layer's ``sparsity``; ``'n'`` makes every weight
        active, those that were dropped from zero on.
        """
        if mode not in ("n", "d"):
            raise ArgumentError(f"mode={mode!r}: must be 'n' (neuron mode, dense) or 'd' (dendrite mode, sparse)")
        if mode == self.mode:
            return
        if mode == "n":
            self.set_mask(torch.ones_like(self.mask), "n")
        else:
            matrix = magnitude_mask(self.weight_matrix(), self.pattern, 1 - self.sparsity, self.groups)
            self.set_mask(self.from_matrix(matrix), "d")

    @torch.no_grad()
    def set_mask(self, mask: Tensor, mode: Mode = "d") -> None:
        """Make exactly the weights under ``mask`` (bool, the weight's shape) active; the others become zero."""
        if mask.dtype != torch.bool or mask.shape != self.mask.shape:
            raise ArgumentError(
                f"mask of layer {self.name!r} is {mask.dtype} {tuple(mask.shape)}:"
                f" must be torch.bool {tuple(self.mask.shape)}"
            )
        mask = mask.to(self.mask.device)
        changed = mask != self.mask
        # Before the mask is overwritten: weights that nobody kept at zero must not come back with what they gathered.
        self.weight.masked_fill_(~self.mask, 0)
        self.mask.copy_(mask)
        self.dendrite_mode.fill_(mode == "d")
        self._multiplier = None
        self.weight.masked_fill_(~mask, 0)  # not multiplied: that leaves NaN where a dropped weight is infinite
        if self._keeper is not None:
            self._keeper.mask_changed(self, changed)

    @torch.no_grad()
    def apply_mask(self) -> None:
        """Set every dropped weight to zero."""
        if self.dendrite_mode:
            self.weight.mul_(self.multiplier())

    def _hook_gradient(self) -> None:
        # In the forward pass alone the mask would be too late: attention, for one, reads `out_proj.weight` itself.
        if self._gradient_hook is None and self.weight.requires_grad:
            hook = self.weight.register_hook(self._mask_gradient)  # type: ignore[no-untyped-call]
            self._gradient_hook = cast(RemovableHandle, hook)

    def _mask_gradient(self, gradient: Tensor) -> Tensor | None:
        if self.mode == "n":
            return None
        if self._keeper is not None:
            self._keeper.gradient_came(self, gradient)
        return gradient * self.multiplier()

    def multiplier(self) -> Tensor:
        """The mask as numbers of the weight's type: to multiply by a bool mask takes five times as long."""
        weight = self.weight
        cached = self._multiplier
        if cached is None or cached.device != weight.device or cached.dtype != weight.dtype:
            cached = self._multiplier = self.mask.to(weight.dtype)
        return cached

    @property
    def groups(self) -> int:
        """Convolution groups; 1 for a linear layer."""
        return int(getattr(self.main_module, "groups", 1))

    @property
    def outputs_first(self) -> tuple[int, ...]:
        """The weight's shape with the neurons in front: ``(outputs, inputs / groups, *kernel)``."""
        return outputs_first(self.mask.shape, self.groups, self._transposed)

    def to_matrix(self, values: Tensor) -> Tensor:
        """Values of the weight's shape (its mask, its gradient) as ``(outputs, fan_in)``."""
        return to_matrix(values, self.groups, self._transposed)

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """A matrix ``(outputs, fan_in)`` as values of the weight's shape."""
        return from_matrix(matrix, self.mask.shape, self.groups, self._transposed)

    def weight_matrix(self) -> Tensor:
        """The weight as ``(outputs, fan_in)``."""
        return self.to_matrix(self.weight.detach())

    @property
    def _transposed(self) -> bool:
        return _is_transposed(self.main_module)

    def active_weights(self) -> int:
        """How many weights the mask keeps."""
        return int(self.mask.sum())

    def active_parameters(self) -> int:
        """Active weights and all other parameters of the layer (its bias)."""
        dropped = self.mask.numel() - self.active_weights()
        return sum(parameter.numel() for parameter in self.main_module.parameters()) - dropped

    def active_zeros(self) -> int:
        """Active weights that happen to be zero."""
        return int((self.mask & (self.weight == 0)).sum())

    def get_sparsity(self) -> float:
        """The share of weights that are dropped."""
        return 1 - self.active_weights() / self.mask.numel()

    def extra_repr(self) -> str:
        """What ``print(model)`` says about this layer."""
        return f"{self.name!r}, mode={self.mode!r}, sparsity={self.get_sparsity():.4f}"


def check_sparsity(sparsity: float) -> float:
    """Refuse a sparsity outside [0, 1)."""
    if not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise ArgumentError(
            f"sparsity={sparsity!r}: must be at least 0 and below 1, the share of weights to drop (0.9 keeps a tenth)"
        )
    return sparsity


def why_not_wrappable(layer: nn.Module, pattern: Pattern) -> str | None:
    """The reason why ``layer`` cannot become dendritic, or ``None`` if it can."""
    if not isinstance(layer, WRAPPABLE):
        return "not a Linear, Conv1d/2d/3d or ConvTranspose1d/2d/3d layer"
    weight = layer._parameters.get("weight")
    if weight is None:
        return "its weight is computed from other parameters (a parametrization)"
    if isinstance(weight, nn.UninitializedParameter):
        return "its shape is not known yet; run one batch through the model first"
    if weight.numel() == 0:
        return "it has no weights"
    groups = getattr(layer, "groups", 1)
    return pattern.refuses(outputs_first(weight.shape, groups, _is_transposed(layer))[0], groups)


def _is_transposed(layer: nn.Module) -> bool:
    return bool(getattr(layer, "transposed", False))


def refuse_other_state(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before anything is loaded: a state dict without this model's masks is refused as a whole."""
    for path, layer in module.named_modules():
        if not isinstance(layer, PAINeuronModule):
            continue
        at = f"{prefix}{path}." if path else prefix
        if f"{at}mask" in state_dict:
            continue
        if f"{at}weight" in state_dict:
            raise StateError(
                f"the state dict holds a dense layer {at[:-1]!r}, the model a dendritic one:"
                " load a dense checkpoint before sparbor.perforate(), or into sparbor.unwrap(model)"
            )


def _after_load(module: nn.Module, _: Any) -> None:
    assert isinstance(module, PAINeuronModule)  # it is registered on no other class
    module._multiplier = None
    module.apply_mask()
