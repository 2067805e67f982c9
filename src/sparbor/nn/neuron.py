"""The dendritic layer: an ordinary layer and the mask of its active synapses."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparbor.distributed.shards import all_true, whole
from sparbor.errors import ArgumentError
from sparbor.nn.layers import is_transposed, parameter_name, parameters_with, weight_names, why_not_wrappable
from sparbor.nn.masked_layer import MaskController, MaskedLayer, Mode
from sparbor.nn.masks import MaskFacts
from sparbor.nn.state_dicts import mask_loaded, refuse_other_state, save_dense, take_dense
from sparbor.nn.storage import positions_to_store, run, run_synapses, store
from sparbor.nn.weight_norm import begin_masking, end_masking, scale_lengths
from sparbor.nn.wrapping import plain_layer, wrappers
from sparbor.recipe.checks import check_sparsity
from sparbor.recipe.pattern import Pattern, Slots
from sparbor.synapses import dispatch
from sparbor.synapses.lists import ConvParams
from sparbor.topology.matrix import to_matrix
from sparbor.topology.rewire import magnitude_mask


class PAINeuronModule(MaskedLayer):
    """A layer that is dense in neuron mode ``'n'`` and keeps only its active synapses in dendrite mode ``'d'``.

    ``y = main_module(x)`` with the weight ``W * mask``. The mask is a buffer of the weight's shape, all true in neuron
    mode; the state dict carries it with the mode, and with the order in which the pattern sees neurons and inputs.
    Attributes of ``main_module`` (``weight``, ``in_features``, ...) can be read from here.

    Where a layer has several weights, a module around a module masks each of them. Attention keeps its query, key and
    value projections in one weight, or in three; its output projection is a layer of its own, which is wrapped within
    it. A recurrent layer has two weights, or three, for each of its layers and directions. With PyTorch's weight norm
    the mask lies on the weight's direction, so that the computed weight is zero where it drops.

    By itself the module multiplies by the mask in every forward pass, so it is right under any optimizer and as a
    copy. :func:`sparbor.perforate` makes that cheap: dropped weights are then really zero and nothing is multiplied.
    The gradient of dropped weights is zero in any case.

    Args:
        main_module: a Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d, LSTM, GRU, RNN or MultiheadAttention layer, a cell
            of a recurrent layer, or Hugging Face's Conv1D; it is not copied.
            If a ``PAINeuronModule`` masks another weight of that layer, pass this module.
        name: what reports and errors call this layer.
        sparsity: the share of weights that ``set_mode('d')`` drops when called by hand, in [0, 1).
        pattern: which weights are kept together.
        weight_name: which of the layer's weights is masked, its first if ``None``: ``"weight"``, for attention
            ``"in_proj_weight"``, or ``"q_proj_weight"``, ``"k_proj_weight"`` and ``"v_proj_weight"``, for an LSTM
            ``"weight_ih_l0"``, ``"weight_hh_l0"`` and so on.

    Raises:
        ArgumentError: the layer is of another kind, the pattern does not fit it, or it has no such weight to mask.

    >>> import torch
    >>> layer = PAINeuronModule(torch.nn.Linear(64, 32), "hidden", sparsity=0.75)
    >>> layer.set_mode("d")
    >>> layer.get_sparsity(), layer.active_parameters()
    (0.75, 544)
    """

    planned = False  # whether a recipe has fixed the sparsity that masks are to come to
    shared = False  # whether other layers have the very same weight, and so the mask

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
        self.pattern = Slots() if pattern is None else pattern
        layer = plain_layer(main_module)
        refusal = why_not_wrappable(layer, self.pattern, weight_name)
        if refusal is None and any(weight_name in (None, inner.weight_name) for inner in wrappers(main_module)):
            refusal = "it already is; name another of its weights, if it has one, as weight_name"
        if refusal:
            raise ArgumentError(f"layer {name!r} ({type(layer).__name__}) cannot become dendritic: {refusal}")
        self.weight_name = weight_name or weight_names(layer)[0]
        self.parameter_name = parameter_name(layer, self.weight_name)
        begin_masking(layer)
        weight = getattr(main_module, self.weight_name)
        self.register_buffer("mask", all_true(weight))
        self.register_buffer("dendrite_mode", torch.zeros((), dtype=torch.bool, device=weight.device))
        self.dendrites = None  # until a perforator lets some grow here
        outputs, fan_in = to_matrix(self.mask, getattr(layer, "groups", 1), is_transposed(layer)).shape
        self.register_buffer("neuron_order", torch.arange(outputs, device=weight.device))
        self.register_buffer("input_order", torch.arange(fan_in, device=weight.device))
        self.main_module = main_module  # not before the buffers: its own of these names would count as theirs
        self._synapse_params: ConvParams | None = None  # for training's kernels, if they are to run the layer
        self._forward_hook: RemovableHandle | None = None
        self._hook_gradient()
        self._hook_forward()
        self.register_state_dict_post_hook(save_dense)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(refuse_other_state)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(take_dense)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(mask_loaded)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no controller: they mask their weights themselves."""
        made_anew = {"controller": None, "_synapse_params": None, "facts": MaskFacts(), "_gradient_hook": None}
        return {**self.__dict__, **made_anew}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Hooks on tensors are not copied with them, and no copy is stored compactly."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.expand()  # an average over copies is one over all weights
        self._hook_gradient()
        self._hook_forward()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's output, from its active weights alone, and what its grown dendrites add."""
        y = None if self._synapse_params is None else run_synapses(self, self._synapse_params, args, kwargs)
        if y is None:
            y = run(self, args, kwargs)
        return y if self.dendrites is None else self.dendrites(y, *args, **kwargs)

    def keep(self, controller: MaskController, *, dense: bool = False) -> None:
        """From now on ``controller`` sees to it that dropped weights are zero in every forward pass.

        ``dense``: the layer is computed with its whole weight, even where its synapses alone would be faster.
        """
        self.controller = controller
        computed = self.parameter_name != self.weight_name
        self._synapse_params = None if dense or computed else dispatch.conv_params(plain_layer(self))
        self._unhook_gradient()  # what it was on may have been replaced since, as by fully_shard
        self._hook_gradient()
        if self._forward_hook is not None:
            self._forward_hook.remove()
            self._forward_hook = None

    def release(self) -> None:
        """End :meth:`keep`, and tell the controller, who then lets all of its layers go."""
        self.expand()
        controller, self.controller = self.controller, None
        self._synapse_params = None
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
            self.drop(~self.mask)
        end_masking(plain_layer(self))
        inner = self.main_module
        layer = inner.unwrap() if isinstance(inner, PAINeuronModule) else inner
        return layer if self.dendrites is None else self.dendrites.unwrap(layer)

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
            weight = self.weight_matrix()
            matrix = magnitude_mask(weight, self.pattern, 1 - self.sparsity, self.groups, self.input_row)
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
        positions = positions_to_store(self, mask, mode == "d")
        if positions is not None or self.compact:
            store(self, positions)
        if positions is None:
            # Before the mask is overwritten: weights that nobody kept at zero must not come back with what they
            # gathered.
            before = self.direction_lengths()
            self.drop(~(self.mask & mask))
            scale_lengths(plain_layer(self), before)
        self.overwrite_mask(mask, positions)
        self.dendrite_mode.fill_(mode == "d")
        if self.controller is not None and positions is None:
            self.controller.mask_changed(self, changed)

    def expand(self) -> None:
        """End compact storage: the parameter is the dense weight again."""
        if self.compact:
            store(self, None)

    def _hook_forward(self) -> None:
        # A Transformer's encoder layer that evaluates reads the weights of its layers and calls none of them, but not
        # if one has a hook: then this module's forward is called, where weights that nobody keeps at zero are masked.
        if self._forward_hook is None and self.controller is None:
            self._forward_hook = self.register_forward_pre_hook(_do_nothing)

    def active_parameters(self) -> int:
        """Active weights and all other parameters of the layer (its bias); those count with its first weight."""
        dropped = 0 if self.compact else self.mask.numel() - self.active_weights()
        return sum(p.numel() for p in parameters_with(plain_layer(self), self.weight_name)) - dropped

    def active_zeros(self) -> int:
        """Active weights that happen to be zero."""
        return int((self.mask & (whole(self.weight.detach()) == 0)).sum())

    def get_sparsity(self) -> float:
        """The share of weights that are dropped."""
        return 1 - self.active_weights() / self.mask.numel()

    def extra_repr(self) -> str:
        """What ``print(model)`` says about this layer."""
        return f"{self.name!r}, mode={self.mode!r}, sparsity={self.get_sparsity():.4f}"


def _do_nothing(*_: object) -> None:
    """A hook that only has to be there."""
