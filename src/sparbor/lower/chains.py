"""Which layers' neurons may stand in another order: those that only layers of the model read, found by tracing it.

The order of a layer's neurons can be changed without changing what the model computes if whatever reads them knows:
the layers that read them through operators that work on each neuron by itself. Where anything else does (a sum
with a skip connection, a concatenation, attention, the model's caller), the order has to stay.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.utils.weight_norm import WeightNorm

from sparbor.lower.neurons import (
    NeuronRule,
    NeuronWalk,
    OrderMattersError,
    TracedLayers,
    number_by_number,
    reads,
    rule_of,
    shape_of,
)
from sparbor.lower.recurrent import stand_in
from sparbor.lower.restored import restored
from sparbor.lower.tracing import in_short, trace_call
from sparbor.nn.dendrites import parts_of_dendrites
from sparbor.nn.named_layers import named_layers
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import Wrapper, plain_layer
from sparbor.ops.arguments import operator_name


@dataclass(frozen=True)
class Chain:
    """A layer whose neurons may be reordered, and what has to follow.

    ``along`` are modules on the way that hold numbers for each neuron and work on each by itself: batch norms and
    depthwise convolutions. ``readers`` are the layers whose inputs the neurons are.
    """

    layer: PAINeuronModule
    along: tuple[nn.Module, ...]
    readers: tuple[nn.Module, ...]


@dataclass
class Chains:
    """The chains in the order of the model's graph, and for each other dendritic layer why its order has to stay.

    ``shapes`` are those of what each dendritic layer reads and computes, as far as its call was found.
    """

    found: list[Chain] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)


def chains(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Chains:
    """Trace a call of ``model`` and follow what each dendritic layer computes to the layers that read it.

    Of the arguments only types and shapes matter. Dendrites that have grown on a layer stand in its order, so that the
    layer alone is followed.
    """
    model = getattr(model, "_orig_mod", model)
    try:
        exported = _traced(model, args, kwargs or {})
    except Exception as error:  # user code that cannot be traced raises whatever it likes
        why = (
            f"torch.export cannot trace the model's code ({in_short(error)}), so what reads these neurons is not known"
        )
        return all_stay(model, why)
    layers = TracedLayers(model, exported)
    position = {node: index for index, node in enumerate(layers.nodes)}
    result, found = Chains(), list[tuple[int, Chain]]()
    for path in dendritic(model):
        try:
            start = layers.start(path)
            result.shapes[path] = shape_of(cast(Node, start.args[0])), shape_of(start)
            found.append((position[start], _chain(layers, path, start, position)))
        except OrderMattersError as reason:
            result.reasons[path] = str(reason)
    result.found = [chain for _, chain in sorted(found, key=lambda each: each[0])]
    return result


def all_stay(model: nn.Module, why: str) -> Chains:
    """No layer's neurons may be reordered, for one reason."""
    return Chains(reasons=dict.fromkeys(dendritic(model), why))


def dendritic(model: nn.Module) -> dict[str, PAINeuronModule]:
    """The dendritic layers by the paths of the plain model, without those of dendrites, which stand in their order."""
    grown = parts_of_dendrites(model)
    found: dict[str, PAINeuronModule] = {}
    for place in named_layers(model):
        if isinstance(place.module, PAINeuronModule) and id(place.module) not in grown:
            found.setdefault(place.plain_path, place.module)
    return found


def _traced(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ExportedProgram:
    """The graph of the model with plain layers in the place of dendritic ones: it has neither masks nor dendrites.

    Nor has it hooks: they may keep what they are given, which in tracing are no numbers.
    """
    with restored(model):
        for module in list(model.modules()):
            # The older function for weight norm computes the weight in one, without which it would be an earlier one.
            computing = {key: each for key, each in module._forward_pre_hooks.items() if isinstance(each, WeightNorm)}
            vars(module).update({name: OrderedDict() for name in _HOOKS})
            module._forward_pre_hooks.update(computing)
            if isinstance(module, nn.RNNBase):
                stand_in(module)
            for name, child in module._modules.items():
                if isinstance(child, Wrapper):
                    module._modules[name] = plain_layer(child)
        model.eval()
        return trace_call(plain_layer(model), args, kwargs)


_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def _chain(layers: TracedLayers, path: str, start: Node, position: Mapping[Node, int]) -> Chain:
    """The chain of the layer at ``path``, which ``start`` computes; raises if its order has to stay."""
    layer = layers.modules[path]
    assert isinstance(layer, PAINeuronModule)
    if layer.groups > 1:
        raise OrderMattersError("a grouped convolution")
    walk = NeuronWalk(layers, start, layer.outputs_first[0])
    pending = set(start.users)
    while pending:
        node = min(pending, key=position.__getitem__)  # what it reads has been met before
        pending.remove(node)
        if node.op == "output":
            raise OrderMattersError("it is the model's output")
        if not node.users:
            continue  # it computes nothing, but makes sure of something
        stand = _rule(node)(walk, node)
        if stand is not None:
            walk.stands[node] = stand
            pending.update(node.users)
    if not walk.readers:
        raise OrderMattersError("nothing reads it")
    along, readers = (tuple(layers.modules[each] for each in paths) for paths in (walk.along, walk.readers))
    return Chain(layer, along, readers)


def _rule(node: Node) -> NeuronRule:
    """What becomes of neurons in this node: the operator's own rule, or what PyTorch says of it."""
    if node.target is operator.getitem:
        return lambda walk, node: walk.only_input(node)[1]  # of the results of an operator, which has a rule
    rule = rule_of(operator_name(node))
    if rule is not None:
        return rule
    if isinstance(node.target, OpOverload) and torch.Tag.pointwise in node.target.tags:
        return number_by_number
    raise reads(node)
