"""The batches that a model is shown: each is what the model is called with."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError

_CALL = "what the model is called with: a tensor, a tuple of arguments or a dictionary of them by name"
_LIKE = f"each of them {_CALL}"
MASK = "attention_mask"  # what Hugging Face's models call the argument that says which tokens are there
LABELS = ("label", "labels")


@dataclass(frozen=True)
class Call:
    """The arguments of one call. ``counted`` says which places of its sequences are there, where the call says so."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    counted: Tensor | None


class Batches:
    """The batches as calls of ``model``, as often as they are gone through; what can be read once alone is kept.

    Raises:
        ArgumentError: they are no batches, none, or what is in them is no arguments of a model.
    """

    def __init__(self, model: nn.Module, given: Any) -> None:
        if isinstance(given, (Tensor, Mapping, str)) or not isinstance(given, Iterable):
            raise ArgumentError(f"batches is a {type(given).__name__}: pass a list of batches, {_LIKE}")
        self._signature = inspect.signature(model.forward)
        self._given: Iterable[Any] = list(given) if isinstance(given, Iterator) else given

    def __iter__(self) -> Iterator[Call]:
        empty = True
        for number, batch in enumerate(self._given):
            empty = False
            yield self._call(f"batches[{number}]", batch)
        if empty:
            raise ArgumentError(f"batches holds none: pass some hundred items in a list of batches, {_LIKE}")

    def _call(self, called: str, batch: Any) -> Call:
        args: tuple[Any, ...] = ()
        kwargs: dict[str, Any] = {}
        if isinstance(batch, Mapping):
            kwargs = {str(name): each for name, each in batch.items() if self._takes(str(name))}
        elif isinstance(batch, (tuple, list)):
            args = tuple(batch)[: self._positional()]  # labels come last, and a model that takes none is given none
        else:
            args = (batch,)
        tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        if not tensors:
            raise ArgumentError(f"{called} is a {type(batch).__name__} without a tensor: a batch must be {_CALL}")
        for tensor in tensors:
            if tensor.numel() == 0:
                shape = tuple(tensor.shape)
                raise ArgumentError(f"{called} has a tensor of shape {shape}: a batch must hold one item at least")
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise ArgumentError(f"{called} holds NaN or infinity: pass inputs as the model will be given")
        return Call(args, kwargs, self._counted(args, kwargs))

    def _takes(self, name: str) -> bool:
        """Whether the model takes an argument of this name; only labels are left out where it does not."""
        parameters = self._signature.parameters
        return name not in LABELS or name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def _positional(self) -> int | None:
        """How many arguments the model takes by position; ``None`` if it takes any number."""
        kinds = [each.kind for each in self._signature.parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL in kinds:
            return None
        return sum(
            kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds
        )

    def _counted(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
        """The mask of tokens, if there is one of a row for each item; one of pairs of tokens says nothing of rows."""
        mask = dict(zip(self._signature.parameters, args, strict=False)).get(MASK, kwargs.get(MASK))
        return mask.bool() if isinstance(mask, Tensor) and mask.dim() == 2 else None
