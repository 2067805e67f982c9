"""The dendritic layer: an ordinary layer and the mask of its active synapses."""

from functools import partial
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from sparbor.distributed.shards import all_true, held, held_part, is_sharded, whole
from sparbor.errors import ArgumentError, StateError
from sparbor.nn.layers import is_transposed, parameters_with, weight_names, why_not_wrappable
from sparbor.nn.masking import bits_of, mask_in_place, masked
from sparbor.nn.pattern_view import PatternView
from sparbor.nn.state_dicts import refuse_other_state
from sparbor.nn.storage import Mover, Storage, gather, pays_alone, positions_of, scatter
from sparbor.nn.wrapping import plain_layer, wrappers
from sparbor.recipe.pattern import Pattern, Slots
from sparbor.recipe.sparsity import check_sparsity
from sparbor.synapses import dispatch
from sparbor.synapses.lists import Synapses, Window
from sparbor.topology.matrix import to_matrix
from sparbor.topology.rewire import magnitude_mask

Mode = Literal["n", "d"]


class MaskController(Protocol):
    """Who keeps a module's dropped weights at zero while it trains."""

    def backward_came(self, module: "PAINeuronModule") -> None:
        """A backward pass has come to the module's weight, in either mode; not called for sharded ones."""

    def gradient_came(self, module: "PAINeuronModule", gradient: Tensor) -> None:
        """A backward pass is about to add ``gradient``, not masked yet, to that of the module's weight."""

    def needs_gradient(self, module: "PAINeuronModule") -> bool:
        """Whether backward passes are to bring the gradient of dropped weights as well now."""

    def mask_changed(self, module: "PAINeuronModule", changed: Tensor) -> None:
        """``changed`` weights have just become active or inactive."""

    def parameter_replaced(self, old: nn.Parameter, new: nn.Parameter, move: Mover) -> None:
        """The module has another parameter now; ``move`` makes what belongs to it of what belonged to the old one."""

    def unfinished(self) -> str | None:
        """In a sentence, why its layers are not as sparse yet as they are to become, or ``None`` if they are."""

    def detach(self) -> None:
        """Stop keeping."""


class PAINeuronModule(PatternView):
    """A layer that is dense in neuron mode ``'n'`` and keeps only its active synapses in dendrite mode ``'d'``.

    ``y = main_module(x)`` with the weight ``W * mask``. The mask is a buffer of the weight's shape, all true in neuron
    mode; the state dict carries it with the mode, and with the order in which the pattern sees neurons and inputs.
    Attributes of ``main_module`` (``weight``, ``in_features``, ...) can be read from here.

    Attention keeps its query, key and value projections in one weight, or in three; then a module around a module
    masks each of them. Its output projection is a layer of its own, which is wrapped within it.

    By itself the module multiplies by the mask in every forward pass, so it is right under any optimizer and as a
    copy. :func:`sparbor.perforate` makes that cheap: dropped weights are then really zero and nothing is multiplied.
    The gradient of dropped weights is zero in any case.

    Args:
        main_module: a Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d or MultiheadAttention layer; it is not copied.
            If a ``PAINeuronModule`` masks another weight of that layer, pass this module.
        name: what reports and errors call this layer.
        sparsity: the share of weights that ``set_mode('d')`` drops when called by hand, in [0, 1).
        pattern: which weights are kept together.
        weight_name: which of the layer's weights is masked, its first if ``None``: ``"weight"``, for attention
            ``"in_proj_weight"``, or ``"q_proj_weight"``, ``"k_proj_weight"`` and ``"v_proj_weight"``.

    Raises:
        ArgumentError: the layer is of another kind, the pattern does not fit it, or it has no such weight to mask.

    >>> import torch
    >>> layer = PAINeuronModule(torch.nn.Linear(64, 32), "hidden", sparsity=0.75)
    >>> layer.set_mode("d")
    >>> layer.get_sparsity(), layer.active_parameters()
    (0.75, 544)
    """

    dendrite_mode: Tensor
    planned = False  # whether a recipe has fixed the sparsity that masks are to come to

    def __init__(
        self,
        main_module: nn.Module,
        name: str = "",
        *,
        sparsity: float = 0.9,
        pattern: Pattern | None = None,
        weight_name: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.sparsity = check_sparsity(sparsity)
        self.pattern: Pattern = Slots() if pattern is None else pattern
        layer = plain_layer(main_module)
        refusal = why_not_wrappable(layer, self.pattern, weight_name)
        if refusal is None and any(weight_name in (None, inner.weight_name) for inner in wrappers(main_module)):
            refusal = "it already is; name another of its weights, if it has one, as weight_name"
        if refusal:
            raise ArgumentError(f"layer {name!r} ({type(layer).__name__}) cannot become dendritic: {refusal}")
        self.weight_name = weight_name or weight_names(layer)[0]
        weight = getattr(main_module, self.weight_name)
        self.register_buffer("mask", all_true(weight))
        self.register_buffer("dendrite_mode", torch.zeros((), dtype=torch.bool, device=weight.device))
        self.dendrites: Any = None  # the Dendrites that a perforator lets grow here
        outputs, fan_in = to_matrix(self.mask, getattr(layer, "groups", 1), is_transposed(layer)).shape
        self.register_buffer("neuron_order", torch.arange(outputs, device=weight.device))
        self.register_buffer("input_order", torch.arange(fan_in, device=weight.device))
        self.main_module = main_module  # not before the buffers: its own of these names would count as theirs
        self._controller: MaskController | None = None
        self.storage: Storage = "masked"
        self._window: Window | None = None
        self._compact = False  # whether the parameter holds the active weights alone now
        self._bits: tuple[torch.dtype, Tensor] | None = None
        self._seen_mask: tuple[int, int] | None = None
        self._active: int | None = None
        self._positions: Tensor | None = None
        self._synapses: Synapses | None = None
        self._gradient_hook: RemovableHandle | None = None
        self._forward_hook: RemovableHandle | None = None
        self._hook_gradient()
        self._hook_forward()
        self.register_state_dict_post_hook(_save_dense)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(refuse_other_state)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_take_dense)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_after_load)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no controller: they mask their weights themselves."""
        made_anew = "_controller", "_seen_mask", "_active", "_bits", "_positions", "_synapses", "_gradient_hook"
        return {**self.__dict__, **dict.fromkeys(made_anew)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Hooks on tensors are not copied with them, and no copy is stored compactly."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.expand()  # an average over copies is one over all weights
        self._hook_gradient()
        self._hook_forward()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's output, from its active weights alone, and what its grown dendrites add."""
        y = self._synapses_alone(*args, **kwargs)
        if y is None:
            y = self._dense(*args, **kwargs)
        return y if self.dendrites is None else self.dendrites(y, *args, **kwargs)

    def _synapses_alone(self, *args: Any, **kwargs: Any) -> Tensor | None:
        """The output if it comes faster from the synapses alone, and the gradient of nothing else is wanted."""
        window, controller = self._window, self._controller
        if window is None or controller is None or torch.compiler.is_compiling() or kwargs or len(args) != 1:
            return None
        mask = self.mask
        if mask.device.type != "cpu" or not self.dendrite_mode:
            return None
        (x,), layer, weights = args, self.main_module, mask.numel()
        density = self.active_weights() / weights
        if not dispatch.pays(layer, window, weights, density, x) or controller.needs_gradient(self):
            return None
        if self._synapses is None:
            self._synapses = Synapses(self.active_positions(), mask.shape, window)
        active = self.parameter if self._compact else gather(self.parameter, self.active_positions())
        return dispatch.compute(layer, active, self._synapses, x)

    def _dense(self, *args: Any, **kwargs: Any) -> Any:
        if self._compact:
            if torch.compiler.is_compiling():
                _refuse_compiling()
            return functional_call(self.main_module, {self.weight_name: self.weight}, args, kwargs)
        if self._controller is not None:
            return self.main_module(*args, **kwargs)
        return functional_call(self.main_module, self._masked_weights(), args, kwargs)

    @property
    def weight(self) -> Tensor:
        """The dense weight, dropped ones included.

        In compact storage it is made from the active weights each time: to change it in place changes nothing.
        """
        if not self._compact:
            return self.parameter
        weight = scatter(self.parameter, self.active_positions(), self.mask.shape)
        if weight.requires_grad and self._controller is not None and self._controller.needs_gradient(self):
            weight.register_hook(partial(self._controller.gradient_came, self))  # type: ignore[no-untyped-call]
        return weight

    @property
    def compact(self) -> bool:
        """Whether the parameter holds the active weights alone at present."""
        return self._compact

    def active_positions(self) -> Tensor:
        """Where the active weights lie in the flattened weight, in order."""
        self._notice_mask()
        if self._positions is None:
            self._positions = positions_of(self.mask)
            if self._compact and len(self._positions) != len(self.parameter):
                raise StateError(
                    f"the mask of layer {self.name!r} was changed in place, and its active weights are stored alone:"
                    " change it by set_mask()"
                )
        return self._positions

    @property
    def controller(self) -> MaskController | None:
        """Who keeps the dropped weights at zero, if anybody does."""
        return self._controller

    def keep(self, controller: MaskController, *, dense: bool = False) -> None:
        """From now on ``controller`` sees to it that dropped weights are zero in every forward pass.

        ``dense``: the layer is computed with its whole weight, even where its synapses alone would be faster.
        """
        self._controller = controller
        self._window = None if dense else dispatch.window_of(plain_layer(self))
        self._hook_gradient()
        if self._forward_hook is not None:
            self._forward_hook.remove()
            self._forward_hook = None

    def release(self) -> None:
        """End :meth:`keep`, and tell the controller, who then lets all of its layers go."""
        self.expand()
        controller, self._controller = self._controller, None
        self._hook_forward()
        if controller is not None:
            controller.detach()

    def unwrap(self) -> nn.Module:
        """The layer as it was, with zeros for its dropped weights, or with its dendrites, if some have grown.

        Layers within it stay as they are.
        """
        self.release()
        self._unhook_gradient()
        with torch.no_grad():
            self._drop(~self.mask)
        inner = self.main_module
        layer = inner.unwrap() if isinstance(inner, PAINeuronModule) else inner
        grown: nn.Module = layer if self.dendrites is None else self.dendrites.unwrap(layer)
        return grown

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
        compact = mode == "d" and self.storage == "compact" and pays_alone(mask)
        positions = positions_of(mask) if compact else None
        if compact or self._compact:
            self._store(positions)
        if not compact:
            # Before the mask is overwritten: weights that nobody kept at zero must not come back with what they
            # gathered.
            self._drop(~(self.mask & mask))
        self._overwrite_mask(mask, positions)
        self.dendrite_mode.fill_(mode == "d")
        if self._controller is not None and not compact:
            self._controller.mask_changed(self, changed)

    def expand(self) -> None:
        """End compact storage: the parameter is the dense weight again."""
        if self._compact:
            self._store(None)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _store(self, positions: Tensor | None) -> None:
        """Exchange the parameter for one of the weights at these positions, or of all weights."""
        old = self.parameter
        move = Mover(self.active_positions() if self._compact else None, positions, self.mask.shape)
        if not self._compact:
            self._drop(~self.mask)
        new = nn.Parameter(move(old.detach(), 0.0), requires_grad=old.requires_grad)
        vars(new).update(vars(old))
        if self._controller is not None:
            self._controller.parameter_replaced(old, new, move)  # which may refuse it
        self._unhook_gradient()
        self.main_module._parameters[self.weight_name] = new
        self._compact = positions is not None
        self._hook_gradient()

    def _overwrite_mask(self, mask: Tensor, positions: Tensor | None) -> None:
        """The mask becomes this one, of which the positions of the active weights may be known already."""
        self.mask.copy_(mask)
        self._notice_mask()
        self._positions = positions

    def _notice_mask(self) -> None:
        """If the mask has changed, what was made of it is made anew when it is needed."""
        mask = self.mask
        seen = id(mask), 0 if mask.is_inference() else mask._version
        if seen != self._seen_mask:
            self._seen_mask = seen
            self._active = self._bits = self._positions = self._synapses = None

    def apply_mask(self) -> None:
        """Set every dropped weight to zero."""
        if not self._compact and self.dendrite_mode:
            mask_in_place(held(self.parameter.detach()), self.bits())

    def _drop(self, dropped: Tensor) -> None:
        # Not multiplied: that leaves NaN where a dropped weight is infinite.
        held(self.parameter).masked_fill_(held_part(dropped, self.parameter), 0)

    def _hook_gradient(self) -> None:
        # In the forward pass alone the mask would be too late: attention, for one, reads `out_proj.weight` itself.
        if self._gradient_hook is None and self.parameter.requires_grad:
            weight: Any = self.parameter  # torch has not typed these hooks
            sharded = is_sharded(weight)  # a shard is no part of the graph: its gradient is put there
            if sharded:
                hook = weight.register_post_accumulate_grad_hook(self._mask_shard_of_gradient)
            else:
                hook = weight.register_hook(self._mask_gradient)
            self._gradient_hook = cast(RemovableHandle, hook)

    def _unhook_gradient(self) -> None:
        if self._gradient_hook is not None:
            self._gradient_hook.remove()
            self._gradient_hook = None

    def _hook_forward(self) -> None:
        # A Transformer's encoder layer that evaluates reads the weights of its layers and calls none of them, but not
        # if one has a hook: then this module's forward is called, where weights that nobody keeps at zero are masked.
        if self._forward_hook is None and self._controller is None:
            self._forward_hook = self.register_forward_pre_hook(_do_nothing)

    def _masked_weights(self) -> dict[str, Tensor]:
        """By their names in ``main_module``; attention reads the weight of the projection within it itself."""
        masked = {self.weight_path: self.weight * self.mask}
        for path, module in self.main_module.named_modules(prefix="main_module"):
            if isinstance(module, PAINeuronModule):
                masked[f"{path}.{module.weight_path}"] = module.weight * module.mask
        return {path.removeprefix("main_module."): weight for path, weight in masked.items()}

    def _mask_gradient(self, gradient: Tensor) -> Tensor | None:
        if self._controller is not None:
            self._controller.backward_came(self)
        if self._compact or self.mode == "n":
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

    def bits(self) -> Tensor:
        """What weights keep of their bits (see :func:`bits_of`), of the part that this rank holds."""
        self._notice_mask()
        weight = self.parameter
        if self._bits is None or self._bits[0] != weight.dtype or self._bits[1].device != weight.device:
            self._bits = weight.dtype, bits_of(held_part(self.mask, weight), weight.dtype)
        return self._bits[1]

    def active_weights(self) -> int:
        """How many weights the mask keeps."""
        self._notice_mask()
        if self._active is None:
            self._active = int(self.mask.count_nonzero())  # tens of times as fast as the sum of a bool tensor
        return self._active

    def active_parameters(self) -> int:
        """Active weights and all other parameters of the layer (its bias); those count with its first weight."""
        dropped = 0 if self._compact else self.mask.numel() - self.active_weights()
        return sum(p.numel() for p in parameters_with(plain_layer(self), self.weight_name)) - dropped

    def topology_bytes(self) -> int:
        """Memory that the mask takes, and what has been made of it."""
        made = [self.mask, self._bits[1] if self._bits else None, self._positions]
        made += self._synapses.tensors() if self._synapses else []
        return sum(each.numel() * each.element_size() for each in made if each is not None)

    def active_zeros(self) -> int:
        """Active weights that happen to be zero."""
        return int((self.mask & (whole(self.weight.detach()) == 0)).sum())

    def get_sparsity(self) -> float:
        """The share of weights that are dropped."""
        return 1 - self.active_weights() / self.mask.numel()

    def extra_repr(self) -> str:
        """What ``print(model)`` says about this layer."""
        return f"{self.name!r}, mode={self.mode!r}, sparsity={self.get_sparsity():.4f}"


@torch.compiler.disable  # type: ignore[untyped-decorator]  # so that it is called, and not traced
def _refuse_compiling() -> None:
    raise ArgumentError(
        "storage='compact' exchanges parameters while the model trains, and torch.compile holds on to those that it"
        " finds; compile a model with storage='masked', or call sparbor.unwrap(model) first"
    )


def _do_nothing(*_: object) -> None:
    """A hook that only has to be there."""


def _after_load(module: nn.Module, _: Any) -> None:
    assert isinstance(module, PAINeuronModule)  # it is registered on no other class
    module.apply_mask()


def _save_dense(module: nn.Module, state_dict: dict[str, Any], prefix: str, _: Any) -> None:
    """A state dict holds dense weights, however they are stored here."""
    assert isinstance(module, PAINeuronModule)
    if module._compact:
        state_dict[prefix + module.weight_path] = module.weight.detach()


def _take_dense(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a dense weight is loaded into compact storage: take its mask, and of the weight what that keeps."""
    assert isinstance(module, PAINeuronModule)
    names = (module.weight_path, "mask", "dendrite_mode")
    weight, mask, sparse = (state_dict.get(prefix + name) for name in names)
    if module.storage == "masked" or weight is None or mask is None or sparse is None:
        return
    if not mask.shape == weight.shape == module.mask.shape:
        return  # torch says what does not fit
    mask = mask.to(module.mask.device, torch.bool)
    positions = positions_of(mask) if sparse and pays_alone(mask) else None
    if positions is not None or module._compact:
        module._store(positions)
        module._overwrite_mask(mask, positions)
    if positions is not None:
        state_dict[prefix + module.weight_path] = gather(weight, positions.to(weight.device))
