"""What an optimizer remembers of each weight, when the topology changes or the weights are stored in another way."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparbor.distributed.shards import held, held_part
from sparbor.errors import ArgumentError
from sparbor.nn.active_weights import Mover


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
            held(value).masked_fill_(held_part(changed, value), _initial_value(optimizer, group, name))


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


def with_dense_states(
    optimizer: Optimizer, state_dict: dict[str, Any], moves: Mapping[nn.Parameter, Mover]
) -> dict[str, Any]:
    """The optimizer's state dict, with the states of these parameters as ``moves`` makes them."""
    numbers = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = dict(state_dict["state"])
    for number, parameter in enumerate(numbers):
        if parameter in moves and number in states:
            group = group_of(optimizer, parameter)
            states[number] = _moved(optimizer, group, states[number], moves[parameter])
    return {**state_dict, "state": states}


def take_dense_state(optimizer: Optimizer, parameter: nn.Parameter, move: Mover) -> None:
    """Of a state that was loaded for the dense weight, keep what belongs to ``parameter``."""
    state = optimizer.state.get(parameter, {})
    for name, value in state.items():
        if move.takes(value):
            state[name] = move(value, 0.0)


def _moved(optimizer: Optimizer, group: dict[str, Any], state: dict[str, Any], move: Mover) -> dict[str, Any]:
    return {
        name: move(value, _initial_value(optimizer, group, name)) if move.takes(value) else value
        for name, value in state.items()
    }


def holds(optimizer: Optimizer, parameter: Tensor) -> bool:
    """Whether the parameter is one of the optimizer's."""
    return any(each is parameter for group in optimizer.param_groups for each in group["params"])


def group_of(optimizer: Optimizer, parameter: Tensor) -> dict[str, Any]:
    """The optimizer's group that holds the parameter."""
    return next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))
