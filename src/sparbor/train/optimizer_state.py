"""What an optimizer remembers of each weight, when the topology changes or the weights are stored in another way.

Where weights are stored compactly it has parameters of active weights alone; here is as well for which runs and layers.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sparbor.distributed.ranks import is_distributed
from sparbor.distributed.shards import held, held_part, is_sharded
from sparbor.errors import ArgumentError
from sparbor.nn.layers import ONE_WEIGHT, is_conv1d
from sparbor.nn.masked_layer import STORAGES, Storage
from sparbor.nn.masks import Mover, fill_in_place
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer
from sparbor.recipe.checks import check_choice

# They search along a line through all weights, keep sums over rows and columns, or take matrices alone.
_TAKES_DENSE_WEIGHTS = tuple(
    getattr(torch.optim, name) for name in ("LBFGS", "Adafactor", "Muon", "SparseAdam") if hasattr(torch.optim, name)
)

FEWEST_WEIGHTS = 1 << 14  # below, zeros cost less than exchanging parameters


@torch.no_grad()
def reset_state(optimizer: Optimizer, parameter: Tensor, changed: Tensor) -> None:
    """Give the ``changed`` weights of ``parameter`` the state a new parameter would have.

    State that is not kept weight by weight (step counts, factored moments) is left alone, but for LBFGS: its history
    is of all weights at once, and starts anew with them.
    """
    if isinstance(optimizer, torch.optim.LBFGS):
        if changed.any():
            optimizer.state.clear()
        return
    group = group_of(optimizer, parameter)
    for name, value in optimizer.state.get(parameter, {}).items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            fill_in_place(held(value), held_part(changed, value), _initial_value(optimizer, group, name))


def _initial_value(optimizer: Optimizer, group: dict[str, Any], name: str) -> float:
    """State starts from zero, but for two optimizers of torch that say otherwise."""
    if isinstance(optimizer, torch.optim.Adagrad) and name == "sum":
        return float(group["initial_accumulator_value"])
    return float(group["lr"]) if isinstance(optimizer, torch.optim.Rprop) and name == "step_size" else 0.0


@torch.no_grad()
def replace_parameter(optimizer: Optimizer, old: nn.Parameter, new: nn.Parameter, move: Mover) -> None:
    """Let the optimizer go on with ``new`` in place of ``old``; ``move`` brings what it remembers of each weight.

    Raises:
        ArgumentError: it remembers something else as well; nothing is changed then.
    """
    group, state = group_of(optimizer, old), optimizer.state.get(old)
    for name, value in (state or {}).items():
        if isinstance(value, Tensor) and value.dim() > 0 and not move.takes(value):
            raise ArgumentError(
                f"the optimizer's {name!r} is no number for each weight, but of shape {tuple(value.shape)}: active"
                " weights cannot be stored alone; use storage='masked', or an optimizer such as SGD or AdamW"
            )
    group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    if state is not None:
        del optimizer.state[old]
        optimizer.state[new] = _moved(optimizer, group, state, move)


def _moved(optimizer: Optimizer, group: dict[str, Any], state: dict[str, Any], move: Mover) -> dict[str, Any]:
    return {
        name: move(value, _initial_value(optimizer, group, name)) if move.takes(value) else value
        for name, value in state.items()
    }


def group_of(optimizer: Optimizer, parameter: Tensor) -> dict[str, Any]:
    """The optimizer's group that holds the parameter."""
    return next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))


def check_storage(storage: Storage, model: nn.Module, optimizer: Optimizer, *, grows: bool) -> None:
    """Refuse compact storage where parameters must not be exchanged."""
    check_choice("storage", storage, STORAGES)
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
    layer = plain_layer(module)
    if module.parameter_name != module.weight_name:
        return "its weight is computed (weight norm)"
    if module.shared:
        return "other layers have its weight too"
    if module.weight_name != "weight" or not (type(layer) in ONE_WEIGHT or is_conv1d(layer)):
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
        for module in self._compact() if self._loaded else ():
            if state := optimizer.state.get(module.parameter):
                move = Mover(None, module.active_positions(), module.mask.shape)
                state.update(_moved(optimizer, group_of(optimizer, module.parameter), state, move))
        self._loaded = False

    def _expanded(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The state dict as it would be in masked storage."""
        compact, states = {module.parameter: module for module in self._compact()}, dict(state_dict["state"])
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        for number, parameter in enumerate(parameters):
            if parameter in compact and number in states:
                move = Mover(compact[parameter].active_positions(), None, compact[parameter].mask.shape)
                states[number] = _moved(optimizer, group_of(optimizer, parameter), states[number], move)
        return {**state_dict, "state": states}

    def _note(self, _: Optimizer) -> None:
        self._loaded = True

    def _compact(self) -> list[PAINeuronModule]:
        return [module for module in self._modules() if module.compact]
