"""Where a layer's neurons stand in what is computed from them, as far as operators work on each neuron by itself.

A layer's neurons may stand in another order if whatever reads them knows. Each family of operators says here what
becomes of that order: :data:`sparbor.ops.table.NEURONS` has a rule for each operator that keeps neurons apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from sparbor.lower.tracing import TRACED
from sparbor.nn.layers import ONE_WEIGHT
from sparbor.nn.named_layers import holders_of_parameters, named_layers
from sparbor.nn.wrapping import plain_layer
from sparbor.ops.arguments import module_path, operator_name
from sparbor.ops.pools import dimensions_of
from sparbor.ops.table import NEURONS


class OrderMattersError(Exception):
    """Why the neurons of a layer cannot be reordered."""


@dataclass(frozen=True)
class Stand:
    """Neurons stand along a value's ``axis``; if that is longer than they are many, each has several numbers in a row.

    So it is after a convolution's planes have been flattened: all pixels of one neuron, then those of the next.
    """

    axis: int
    neurons: int


class NeuronWalk:
    """Follows the neurons of one layer through a graph: where they stand in each value, and what they meet.

    ``along`` are the paths of modules that hold numbers for each neuron and work on each by itself (batch norms,
    depthwise convolutions), ``readers`` those of layers that mix neurons and whose inputs they are.
    """

    def __init__(self, layers: TracedLayers, start: Node, neurons: int) -> None:
        self.layers = layers
        self.stands = {start: Stand(layers.features_axis(start, start), neurons)}
        self.along: list[str] = []
        self.readers: list[str] = []

    def only_input(self, node: Node) -> tuple[Node, Stand]:
        """What the node computes from, if that is one value alone, and where neurons stand in it."""
        (value, *others) = node.all_input_nodes
        if others:
            raise reads(node, "together with other values")
        return value, self.stands[value]


NeuronRule: TypeAlias = Callable[[NeuronWalk, Node], "Stand | None"]


class TracedLayers:
    """A traced call's graph, and which nodes compute which layers of the model."""

    def __init__(self, model: nn.Module, exported: ExportedProgram) -> None:
        self.modules: dict[str, nn.Module] = {}
        for place in named_layers(model):
            self.modules.setdefault(place.plain_path, place.module)  # the outermost of those around one layer
        self.holders = holders_of_parameters(model)
        self.nodes: list[Node] = list(exported.graph.nodes)
        signature = exported.graph_signature
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.names = {node: held[node.name].removeprefix(TRACED) for node in self.nodes if node.name in held}
        self.held_by = {name: node for node, name in self.names.items()}

    def start(self, path: str) -> Node:
        """The node that computes the layer at ``path``; raises if its neurons cannot be moved by moving its weight."""
        layer = plain_layer(self.modules[path])
        if not isinstance(layer, ONE_WEIGHT):
            raise OrderMattersError(f"it is a {type(layer).__name__}")
        self.check_own(layer, "it")
        weight = self.held_by.get(f"{path}.weight".removeprefix("."))
        users = [] if weight is None else list(weight.users)
        if not users:
            raise OrderMattersError("nothing reads it")
        if any(rule_of(operator_name(user)) is not layer_rule for user in users):
            raise OrderMattersError("the model reads its parameters itself")
        self.check_uses(path, users[0], "it")
        return users[0]

    def layer_of(self, node: Node) -> str:
        """The path of the layer that the node computes; raises as :meth:`start` does."""
        name = self.names.get(node.args[1])  # type: ignore[arg-type]
        if name is None:
            raise OrderMattersError(f"the weight of {called_by(node)} is computed from other parameters")
        path: str = name.rpartition(".")[0]
        layer = plain_layer(self.modules[path])
        if not isinstance(layer, ONE_WEIGHT):
            raise OrderMattersError(f"{path or 'the model'}, a {type(layer).__name__}, reads it")
        self.check_own(layer, path)
        self.check_uses(path, node, path)
        return path

    def check_own(self, layer: nn.Module, name: str) -> None:
        """A weight may be computed, or another layer's."""
        if layer._parameters.get("weight") is None:
            raise OrderMattersError(f"the weight of {name} is computed from other parameters")
        if any(len(self.holders[id(parameter)]) > 1 for parameter in layer.parameters(recurse=False)):
            raise OrderMattersError(f"{name} shares a parameter with another layer")

    def check_uses(self, path: str, node: Node, name: str) -> None:
        """What the module at ``path`` holds is read by ``node`` alone."""
        for each in (*plain_layer(self.modules[path])._parameters, *plain_layer(self.modules[path])._buffers):
            held = self.held_by.get(f"{path}.{each}".removeprefix("."))
            if held is not None and any(user is not node for user in held.users):
                raise OrderMattersError(f"{name} is called more than once")

    def features_axis(self, node: Node, value: Node) -> int:
        """Along which axis of ``value`` a layer's node has its inputs or outputs: before its planes, if it has some."""
        weight = node.args[1]
        assert isinstance(weight, Node)
        planes = len(shape_of(weight)) - 2
        return len(shape_of(value)) - 1 - planes


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape of what the node computes, or of its first result."""
    result = node.meta.get("val")
    result = result[0] if isinstance(result, (list, tuple)) else result
    return tuple(result.shape) if isinstance(result, Tensor) else ()


def called_by(node: Node) -> str:
    """The path of the module whose forward calls the node."""
    return module_path(node).removeprefix(TRACED)


def reads(node: Node, how: str = "") -> OrderMattersError:
    """That the node reads neurons in a way that their order matters for; named by its operator, as others are too."""
    operator = operator_name(node).removeprefix("sparbor.").partition(".")[0].strip("_")
    return OrderMattersError(f"{operator} reads it {how}".rstrip())


# The rules.


def number_by_number(walk: NeuronWalk, node: Node) -> Stand:
    """Each number is computed from those at its place, of values of one shape that have the same neurons there."""
    values = [each for each in node.all_input_nodes if each in walk.stands or math.prod(shape_of(each)) > 1]
    if any(each not in walk.stands for each in values):
        raise reads(node, "together with other values")
    if len({walk.stands[each] for each in values}) > 1 or {shape_of(each) for each in values} != {shape_of(node)}:
        raise reads(node)
    return walk.stands[values[0]]


def plane_by_plane(walk: NeuronWalk, node: Node) -> Stand:
    """A pool: its last dimensions are a plane, and each is worked on by itself."""
    value, stand = walk.only_input(node)
    if stand.axis >= len(shape_of(value)) - (dimensions_of(operator_name(node)) or 0):
        raise reads(node)
    return stand


def over_dimensions(walk: NeuronWalk, node: Node) -> Stand:
    """A mean or a maximum, of which neurons are no part."""
    value, stand = walk.only_input(node)
    given: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    rank = len(shape_of(value))
    over = {dim % rank for dim in ([given] if isinstance(given, int) else given or range(rank))}
    if stand.axis in over:
        raise reads(node)
    kept = len(shape_of(node)) == rank
    return stand if kept else Stand(stand.axis - sum(dim < stand.axis for dim in over), stand.neurons)


def reshaped(walk: NeuronWalk, node: Node) -> Stand:
    """Neurons stay one after the other if what lies before them is the same, and none is divided."""
    value, stand = walk.only_input(node)
    before = math.prod(shape_of(value)[: stand.axis])
    shape = shape_of(node)
    for axis, size in enumerate(shape):
        if math.prod(shape[:axis]) == before and size % stand.neurons == 0:
            return Stand(axis, stand.neurons)
    raise reads(node)


def padded(walk: NeuronWalk, node: Node) -> Stand:
    """Numbers are put around the last dimensions."""
    value, stand = walk.only_input(node)
    sides = node.args[1]
    assert isinstance(sides, Sequence)
    from_the_end = 2 * (len(shape_of(value)) - 1 - stand.axis)
    if any(sides[from_the_end : from_the_end + 2]):
        raise reads(node)
    return stand


def channel_by_channel(walk: NeuronWalk, node: Node) -> Stand:
    """A batch norm: each channel by itself, with numbers that a module holds for it."""
    value, *held = node.all_input_nodes
    stand = walk.stands.get(value)
    owners = {walk.layers.names.get(each, "").rpartition(".")[0] for each in held}
    if stand is None or any(each not in walk.layers.names for each in held) or len(owners) > 1:
        raise reads(node, "together with other values")
    if stand.axis != 1 or shape_of(value)[1] != stand.neurons:
        raise OrderMattersError(f"{called_by(node)} norms other features than its neurons")
    for path in owners:
        walk.layers.check_uses(path, node, path)
        walk.along.append(path)
    return stand


def layer_rule(walk: NeuronWalk, node: Node) -> Stand | None:
    """A linear layer or a convolution reads neurons; a depthwise convolution works on each by itself."""
    value = node.args[0]
    if not isinstance(value, Node) or any(each in walk.stands for each in node.all_input_nodes if each is not value):
        raise reads(node, "together with other values")
    stand, path = walk.stands[value], walk.layers.layer_of(node)
    if stand.axis != walk.layers.features_axis(node, value):
        raise OrderMattersError(f"{path} does not read one neuron after the other")
    groups = getattr(plain_layer(walk.layers.modules[path]), "groups", 1)
    if groups == 1:
        walk.readers.append(path)
        return None
    if not groups == stand.neurons == shape_of(value)[stand.axis] == shape_of(node)[stand.axis]:
        raise OrderMattersError(f"{path}, a grouped convolution, reads it")
    walk.along.append(path)
    return stand


_RULES: Mapping[str, NeuronRule] = {
    rule.__name__: rule
    for rule in (
        *(number_by_number, plane_by_plane, over_dimensions, reshaped, padded),
        *(channel_by_channel, layer_rule),
    )
}


def rule_of(operator: str) -> NeuronRule | None:
    """The rule for PyTorch's operator of this name, if it keeps neurons apart."""
    found = NEURONS.get(operator)
    return None if found is None else _RULES[found]
