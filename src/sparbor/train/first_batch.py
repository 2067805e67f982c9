"""What a model is first called with when it trains: types and shapes, to trace it with; no batch is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# What arguments besides tensors may be, for a call to be made again from what was noted of it.
_PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device)


@dataclass(frozen=True)
class _Shaped:
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class FirstBatch:
    """Notes the arguments of the first call of ``model`` that may be followed by a backward pass.

    It listens by a forward hook. A compiled model would be compiled again if the hook were taken away, or if what it
    does depended on what it has noted: there it stays, and notes every call.
    """

    def __init__(self, model: nn.Module) -> None:
        self._seen: tuple[Any, Any] | None = None
        self._compiled = False
        self.hook = model.register_forward_pre_hook(_Listener(self), with_kwargs=True)

    @property
    def seen(self) -> bool:
        """Whether there was such a call."""
        return self._seen is not None

    def note(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take these arguments for the first batch, if there was none before."""
        compiling = torch.compiler.is_compiling()
        if compiling:
            self._compiled = True
        if compiling or (self._seen is None and torch.is_grad_enabled()):
            self._seen = _without_numbers(args), _without_numbers(kwargs)

    def stop(self) -> None:
        """Listen no more."""
        if not self._compiled:
            self.hook.remove()

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Such arguments, all zeros; raises a TypeError if there was something that could not be noted."""
        assert self._seen is not None
        args, kwargs = map(_with_zeros, self._seen)
        return args, kwargs


class _Listener:
    """The hook; copies and pickles of the model have one that listens for nobody."""

    def __init__(self, batch: FirstBatch | None = None) -> None:
        self.batch = batch

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.batch is not None:
            self.batch.note(args, kwargs)

    def __reduce__(self) -> tuple[type["_Listener"], tuple[()]]:
        return _Listener, ()


def _without_numbers(value: Any) -> Any:
    """The value with shapes in the place of its tensors; of what is neither plain nor a collection, its type."""
    if isinstance(value, Tensor):
        return _Shaped(tuple(value.shape), value.dtype, value.device)
    if isinstance(value, (list, tuple)):
        return [type(value), [_without_numbers(each) for each in value]]
    if isinstance(value, Mapping):
        return {key: _without_numbers(each) for key, each in value.items()}
    return value if isinstance(value, _PLAIN) else type(value)


def _with_zeros(value: Any) -> Any:
    if isinstance(value, _Shaped):
        return torch.zeros(value.shape, dtype=value.dtype, device=value.device)
    if isinstance(value, list):
        kind, items = value
        items = [_with_zeros(each) for each in items]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    if isinstance(value, dict):
        return {key: _with_zeros(each) for key, each in value.items()}
    if isinstance(value, type):
        raise TypeError(f"it is called with a {value.__name__}")
    return value
