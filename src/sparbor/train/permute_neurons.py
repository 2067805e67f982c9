"""Neurons in an order in which those of a block agree, chosen at the switch to dendrite mode.

Whose neurons may stand in another order the first batch of a run shows. In training nothing moves: a layer only
remembers in which order its pattern sees its neurons and its inputs, so optimizers, averaged copies and whoever holds a
parameter notice nothing. A deployed copy has its weights in that order, see :mod:`sparbor.lower.permuted_copy`.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparbor.allocation.survey import folded
from sparbor.distributed.ranks import is_distributed, values_of_all
from sparbor.lower.chains import Chain, Chains, all_stay, chains, dendritic
from sparbor.lower.permuted_copy import input_order, sees_pixels
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import BlockPattern
from sparbor.topology.neuron_blocks import best_order
from sparbor.train.plan import Plan

logger = logging.getLogger("sparbor")

NOT_YET = "whose neurons may be put in another order will be found with the first batch"

# What arguments besides tensors may be, for a call to be made again from what was noted of it.
_PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device)


def permute_neurons(found: Sequence[Chain]) -> None:
    """Choose the order of neurons in each chain's layer by the magnitude of its weights, and let its readers follow.

    The chains are in the order of the model's graph: a layer's inputs are in order before its neurons are.
    """
    for chain in found:
        layer = chain.layer
        if isinstance(layer.pattern, BlockPattern) and layer.sparsity > 0:
            order = best_order(layer.weight_matrix().abs(), layer.pattern, 1 - layer.sparsity, layer.input_row)
            layer.permute_neurons(neurons=layer.neuron_order[order])
            for reader in chain.readers:
                if isinstance(reader, PAINeuronModule):
                    by_pixel = sees_pixels(reader, len(layer.neuron_order))
                    reader.permute_neurons(inputs=input_order(reader, layer.neuron_order, by_pixel))


class NeuronOrders:
    """Finds, when it is needed first, which layers' neurons may be reordered, by tracing ``model`` for its first batch.

    ``batch`` is what the model was first called with.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: nn.Module = getattr(model, "_orig_mod", model)
        self.batch = FirstBatch(model)
        self._chains: Chains | None = None

    @property
    def found(self) -> Sequence[Chain]:
        """The layers whose neurons may be reordered, with what follows them; none before the first batch."""
        return self._known().found

    @property
    def reasons(self) -> dict[str, str]:
        """Why those of other layers may not, by the layer's name; empty before the first batch."""
        return self._known().reasons

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """What dendritic layers read and compute in the first batch, as far as that is known."""
        return self._known().shapes

    def lines(self) -> list[str]:
        """What there is to say."""
        known = self._known()
        stay = "the neurons of {layers} stay in order: {why}"
        return [NOT_YET] if self._chains is None else folded(stay, known.reasons)

    def settle(self, chains: Chains) -> None:
        """Take these for what is found."""
        self._chains = chains
        self.batch.stop()

    def stop_listening(self) -> None:
        """Take the hook away once it has done its work."""
        if self.batch.seen:
            self.batch.stop()

    def look(self) -> None:
        """Trace the model, if its first batch has come: a step before :meth:`choose`, neither step takes as long."""
        self._known()

    def choose(self) -> None:
        """Put the neurons of all layers that are free in an order in which those of a block agree."""
        known = self._known()
        if self._chains is None:
            known = all_stay(self.model, "the model had not been called before an order was to be chosen")
        self.settle(self._agreed(known))
        permute_neurons(self.found)

    def _known(self) -> Chains:
        if self._chains is None and self.batch.seen:
            begun = time.perf_counter()
            self.settle(self._traced())
            seconds = time.perf_counter() - begun
            logger.info("traced the model for its first batch in %.1f s\n%s", seconds, "\n".join(self.lines()))
        return Chains() if self._chains is None else self._chains

    def _traced(self) -> Chains:
        try:
            args, kwargs = self.batch.arguments()
        except Exception as error:  # classes of collections that are not ours are made anew
            return all_stay(self.model, f"the model cannot be called again to trace it: {error}")
        return chains(self.model, args, kwargs)

    def _agreed(self, mine: Chains) -> Chains:
        """What all ranks have found: their batches may differ in more than their numbers."""
        if not is_distributed():
            return mine
        paths = {id(module): path for path, module in self.model.named_modules()}
        described = {
            paths[id(chain.layer)]: [paths[id(part)] for part in (*chain.along, *chain.readers)] for chain in mine.found
        }
        all_found = values_of_all(described)
        names = {id(layer): name for name, layer in dendritic(self.model).items()}
        agreed = Chains(reasons=dict(mine.reasons), shapes=mine.shapes)
        for chain in mine.found:
            path = paths[id(chain.layer)]
            if all(found.get(path) == described[path] for found in all_found):
                agreed.found.append(chain)
            else:
                agreed.reasons[names[id(chain.layer)]] = "another rank's batch does not show the same of it"
        return agreed


def orders_for(plan: Plan) -> NeuronOrders:
    """The orders of a dendritic model's neurons in a run; where none can be chosen that is settled."""
    orders = NeuronOrders(plan.model)
    if not isinstance(plan.recipe.pattern, BlockPattern):
        orders.settle(Chains())  # it has no neuron blocks
    elif plan.sharded:
        orders.settle(all_stay(plan.model, "the model is sharded, and cannot be traced"))
    elif plan.begins_sparse:
        orders.settle(all_stay(plan.model, "the model came with masks, whose order is kept"))
    elif plan.timeline.reorders is None:
        too_early = "the recipe chooses all synapses before the first batch, which would show its readers"
        orders.settle(all_stay(plan.model, too_early))
    return orders


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
