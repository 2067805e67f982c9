"""How a model is called: what it is given, by the names that its inputs have, and what it answers, likewise."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparbor.errors import ArgumentError
from sparbor.lower.states import next_of

ONE_INPUT, ONE_OUTPUT = "input", "output"  # what they are called where a model has one, given without a name
_TYPES = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.int8, torch.bool)
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class ModelCall:
    """The arguments of one call of a model. Those that are no tensors stay as they are in every call.

    ``names`` are those of the positional arguments. ``states`` are what some of the model's buffers are as the call
    begins, which are inputs of the program as well; ``buffers`` says which ones.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    names: tuple[str, ...]
    states: Mapping[str, Tensor] = field(default_factory=dict)
    buffers: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments by name."""
        return {**dict(zip(self.names, self.args, strict=True)), **self.kwargs}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those that are tensors: the inputs of the program."""
        return {name: each for name, each in self.arguments.items() if isinstance(each, Tensor)} | dict(self.states)

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> ModelCall:
        """The call with these tensors in the place of its own."""
        args = tuple(tensors.get(name, each) for name, each in zip(self.names, self.args, strict=True))
        kwargs, states = (
            {name: tensors.get(name, each) for name, each in known.items()} for known in (self.kwargs, self.states)
        )
        return ModelCall(args, kwargs, self.names, states, self.buffers)

    def with_noise(self, share: float, seed: int = 0) -> ModelCall:
        """The call with noise on its floats, in size this share of theirs (of 1 if they are all zero)."""
        random = torch.Generator().manual_seed(seed)
        return self.with_tensors(
            {
                name: _nudged(tensor, share, random)
                for name, tensor in self.tensors.items()
                if tensor.is_floating_point()
            }
        )

    def of(self, model: nn.Module) -> dict[str, Tensor]:
        """What the model returns, by name, and what the buffers are then that are states."""
        if not self.states:
            return named_answers(model(*self.args, **self.kwargs))
        buffers = {self.buffers[name]: tensor for name, tensor in self.states.items()}
        answers = named_answers(functional_call(model, buffers, self.args, dict(self.kwargs)))
        return answers | {next_of(name): buffers[self.buffers[name]] for name in self.states}


def call_of(model: nn.Module, example: Any, called: str = "example") -> ModelCall:
    """The call that an example stands for: a tensor, a tuple of arguments, or a dictionary of arguments by name.

    Raises ArgumentError, which says what the example is `called`, if the engine cannot take it.
    """
    if isinstance(example, Mapping):
        call = ModelCall((), {str(name): each for name, each in example.items()}, ())
    elif isinstance(example, (tuple, list)):
        call = ModelCall(tuple(example), {}, _parameter_names(model, len(example)))
    else:
        call = ModelCall((example,), {}, (ONE_INPUT,))
    for name, each in call.arguments.items():
        _check(called if each is example else f"{called}[{name!r}]", each, example)
    if not call.tensors:
        raise ArgumentError(f"{called} holds no tensor: a model is called with at least one")
    return call


def _nudged(tensor: Tensor, share: float, random: torch.Generator) -> Tensor:
    size = float(tensor.double().square().mean().sqrt()) or 1.0
    return tensor + share * size * torch.randn(tensor.shape, generator=random, dtype=torch.float32, device="cpu")


def _parameter_names(model: nn.Module, count: int) -> tuple[str, ...]:
    """Those of the first parameters of the model's forward; numbered where it has no names for them."""
    names: list[str] = []
    for parameter in inspect.signature(model.forward).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return tuple([*names, *(f"{ONE_INPUT}_{i}" for i in range(len(names), count))][:count])


def _check(name: str, given: Any, example: Any) -> None:
    if not isinstance(given, Tensor):
        if given is not example and isinstance(given, _PLAIN):
            return
        raise ArgumentError(
            f"{name} is a {type(given).__name__}: pass one input as a tensor, several as a tuple of tensors or as a"
            " dictionary of tensors by name, the batch first"
        )
    if given.device.type != "cpu":
        raise ArgumentError(f"{name} is on {given.device}: the engine runs on the CPU, pass a CPU tensor")
    if given.layout is not torch.strided:
        raise ArgumentError(f"{name} is {given.layout}: pass a strided tensor, such as {name}.to_dense()")
    if given.numel() == 0 or (given is example and given.dim() < 2 and given.is_floating_point()):
        raise ArgumentError(f"{name} has shape {tuple(given.shape)}: it must be (batch, ...) and not empty")
    if given.dtype not in _TYPES:
        types = ", ".join(str(each).removeprefix("torch.") for each in _TYPES)
        cast = "float" if given.is_floating_point() or given.is_complex() else "long"
        raise ArgumentError(f"{name} is {given.dtype}: the engine takes {types}; pass {name}.{cast}()")


def named_answers(answer: Any) -> dict[str, Tensor]:
    """The tensors in what a model returns, by name: its keys, its fields, or `output_0` and so on.

    Names within names are joined by underscores. A cache of keys and values that a decoder returns for its next call
    is left out: it is a state, and no answer.
    """
    if isinstance(answer, Tensor):
        return {ONE_OUTPUT: answer}
    found = dict(_named("", answer))
    if not found:
        raise ArgumentError(f"the model returns a {type(answer).__name__} without a tensor: there is nothing to run")
    return found


def _named(name: str, answer: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(answer, Tensor):
        yield name, answer
    elif not type(answer).__name__.endswith("Cache"):
        for key, each in _parts(answer).items():
            yield from _named(f"{name}_{key}" if name else _leading(key, each), each)


def _leading(key: str, part: Any) -> str:
    return f"{ONE_OUTPUT}_{key}" if key.isdigit() else key


def _parts(answer: Any) -> dict[str, Any]:
    """What an answer consists of, by name."""
    if isinstance(answer, Mapping):
        return {str(key): each for key, each in answer.items()}
    if hasattr(answer, "_fields"):  # a named tuple
        return dict(zip(answer._fields, answer, strict=True))
    if isinstance(answer, (list, tuple)):
        return {str(number): each for number, each in enumerate(answer)}
    return dict(vars(answer)) if hasattr(answer, "__dict__") and not isinstance(answer, nn.Module) else {}
