"""Compact storage in training: for which runs and layers it can be had, and what the optimizer is told of it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sparbor.distributed.ranks import is_distributed
from sparbor.distributed.shards import is_sharded
from sparbor.errors import ArgumentError
from sparbor.nn.active_weights import Mover
from sparbor.nn.layers import ONE_WEIGHT
from sparbor.nn.masked_layer import STORAGES, Storage
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer
from sparbor.train.optimizer_state import take_dense_state, with_dense_states

# They search along a line through all weights, keep sums over rows and columns, or take matrices alone.
_TAKES_DENSE_WEIGHTS = tuple(
    getattr(torch.optim, name) for name in ("LBFGS", "Adafactor", "Muon", "SparseAdam") if hasattr(torch.optim, name)
)

FEWEST_WEIGHTS = 1 << 14  # below, zeros cost less than exchanging parameters


def check_storage(storage: Storage, model: nn.Module, optimizer: Optimizer, *, grows: bool) -> None:
    """Refuse compact storage where parameters must not be exchanged."""
    if storage not in STORAGES:
        raise ArgumentError(f"storage={storage!r}: must be one of {', '.join(map(repr, STORAGES))}")
    if storage == "masked":
        return
    reason = _holder_of_parameters(model)
    if grows:
        reason = "the recipe lets dendrites grow, which may be rolled back"
    if isinstance(optimizer, _TAKES_DENSE_WEIGHTS):
        reason = f"{type(optimizer).__name__} does not treat each weight by itself"
    if reason:
        raise ArgumentError(
            f"storage='compact' exchanges parameters while the model trains, and {reason}; use 'masked'"
        )


def _holder_of_parameters(model: nn.Module) -> str | None:
    """Who else holds the model's parameters, in words."""
    for module in model.modules():
        if isinstance(module, nn.parallel.DistributedDataParallel):
            return "DistributedDataParallel holds on to them"
        if type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None:
            return "torch.compile has compiled the model with those that it has now"
        if any(map(is_sharded, module.parameters(recurse=False))):
            return "fully_shard has sharded them"
    return "other ranks have them too" if is_distributed() else None


def why_not_compact(module: PAINeuronModule) -> str | None:
    """The reason why this layer's weights stay masked, or ``None``."""
    if module.weight_name != "weight" or type(plain_layer(module)) not in ONE_WEIGHT:
        return "it computes with its weight itself"
    if module.mask.numel() < FEWEST_WEIGHTS:
        return f"it has only {module.mask.numel()}"
    return None


class CompactStates:
    """An optimizer's state dict is of dense weights, however they are stored; and so are the states that it loads.

    ``modules`` are the layers as they are when it is called.
    """

    def __init__(self, modules: Callable[[], Iterable[PAINeuronModule]]) -> None:
        self._modules = modules
        self._loaded = False

    def hook_up(self, optimizer: Optimizer) -> list[RemovableHandle]:
        """The hooks that do it."""
        return [
            optimizer.register_state_dict_post_hook(self._expanded),
            optimizer.register_load_state_dict_post_hook(self._note),
        ]

    def before_step(self, optimizer: Optimizer) -> None:
        """Take in states that have been loaded; not sooner, since masks may be loaded after them."""
        if self._loaded:
            for module in self._compact():
                move = Mover(None, module.active_positions(), module.mask.shape)
                take_dense_state(optimizer, module.parameter, move)
            self._loaded = False

    def _expanded(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The state dict as it would be in masked storage."""
        compact = {module.parameter: module for module in self._compact()}
        moves = {each: Mover(module.active_positions(), None, module.mask.shape) for each, module in compact.items()}
        return with_dense_states(optimizer, state_dict, moves)

    def _note(self, _: Optimizer) -> None:
        self._loaded = True

    def _compact(self) -> list[PAINeuronModule]:
        return [module for module in self._modules() if module.compact]
