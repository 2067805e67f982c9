"""Which layers' neurons may stand in another order: those that only layers of the model read, found by tracing it.

The order of a layer's neurons can be changed without changing what the model computes if whatever reads them knows:
the layers that read them through activations, pools, batch norms and flattening alone. Where anything else does (a sum
with a skip connection, a concatenation, attention, the model's caller), the order has to stay.
"""

import copy
import logging
import operator
from dataclasses import dataclass, field
from typing import cast

from torch import fx, nn

from sparbor.modules.dendrites import parts_of_dendrites
from sparbor.modules.layers import ONE_WEIGHT, weight_names
from sparbor.modules.neuron import PAINeuronModule
from sparbor.modules.wrapping import places, plain_layer
from sparbor.recipe.survey import holders_of_parameters

logger = logging.getLogger("sparbor")

_ACTIVATIONS = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Tanhshrink, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Threshold, nn.Dropout, nn.AlphaDropout),
)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
)
_ACTIVATION_FUNCTIONS = {
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "logsigmoid", "tanh"),
    *("hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign", "dropout", "contiguous", "relu_", "tanh_"),
}
_POOL_FUNCTIONS = {
    f"{kind}_pool{dimensions}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for dimensions in (1, 2, 3)
}


@dataclass(frozen=True)
class Chain:
    """A layer whose neurons may be reordered, and what has to follow: batch norms on the way, and its readers."""

    layer: PAINeuronModule
    norms: tuple[nn.Module, ...]
    readers: tuple[nn.Module, ...]


@dataclass
class Chains:
    """The chains in the order of the model's graph, and for each other dendritic layer why its order has to stay."""

    found: list[Chain] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


def chains(model: nn.Module) -> Chains:
    """Trace ``model`` and follow what each dendritic layer computes to the layers that read it.

    A copy is traced: a forward that keeps something on the model must not keep what stands for values in tracing.
    """
    model = getattr(model, "_orig_mod", model)
    grown = parts_of_dendrites(model)  # which stand in the order of the layers that they grow on
    layers = [p for p in places(model) if isinstance(p.module, PAINeuronModule) and id(p.module) not in grown]
    try:
        graph = _Tracer().trace(copy.deepcopy(model))
    except Exception as error:  # user code that cannot be copied or traced raises whatever it likes
        logger.debug("torch.fx cannot trace %s: %s", type(model).__name__, error)
        why = "torch.fx cannot trace the model's code, so which layers read these neurons is not known"
        return Chains(reasons={place.plain_path: why for place in layers})
    walk = _Walk(model, graph)
    result = Chains()
    for place in sorted(layers, key=lambda place: walk.position(place.path)):
        try:
            result.found.append(walk.chain(place.path, cast(PAINeuronModule, place.module)))
        except _OrderMattersError as reason:
            result.reasons[place.plain_path] = str(reason)
    return result


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """A dendritic layer is one node, whatever is within it."""
        return isinstance(m, PAINeuronModule) or super().is_leaf_module(m, module_qualified_name)


class _OrderMattersError(Exception):
    """Why the neurons of a layer cannot be reordered."""


@dataclass(frozen=True)
class _Place:
    """Where neurons stand in a value: on the last axis, on the second (``"channels"``), or ``"flat"``, all positions
    of one after those of another."""

    axis: str
    neurons: int


class _Walk:
    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self.model = model
        self.holders = holders_of_parameters(model)
        self.nodes: list[fx.Node] = list(graph.nodes)

    def position(self, name: str) -> int:
        """Where in the graph the module ``name`` is called first; its end, if it is not."""
        calls = (index for index, node in enumerate(self.nodes) if node.op == "call_module" and node.target == name)
        return next(calls, len(self.nodes))

    def chain(self, name: str, layer: PAINeuronModule) -> Chain:
        """The chain that begins with the ``layer`` called ``name``; raises if its order has to stay."""
        node = self._only_call(name)
        if layer.groups > 1:
            raise _OrderMattersError("a grouped convolution")
        self._check_own(plain_layer(layer), "it")
        place = _Place("last" if isinstance(layer.main_module, nn.Linear) else "channels", layer.outputs_first[0])
        norms: list[nn.Module] = []
        readers: list[nn.Module] = []
        self._follow(node, place, norms, readers)
        return Chain(layer, tuple(norms), tuple(readers))

    def _only_call(self, name: str) -> fx.Node:
        """The node that calls the module ``name``, if nothing else calls it or reads what is inside."""
        calls = [node for node in self.nodes if node.op == "call_module" and node.target == name]
        if len(calls) != 1:
            raise _OrderMattersError("it is called more than once" if calls else "another module calls it")
        if any(node.op == "get_attr" and str(node.target).startswith(f"{name}.") for node in self.nodes):
            raise _OrderMattersError("the model reads its parameters itself")
        return calls[0]

    def _check_own(self, layer: nn.Module, name: str) -> None:
        """A subclass may do more with its neurons than is known, and a weight may be computed, or another layer's."""
        if type(layer) not in ONE_WEIGHT:
            raise _OrderMattersError(f"{name} is a {type(layer).__name__}")
        if layer._parameters.get("weight") is None:
            raise _OrderMattersError(f"the weight of {name} is computed from other parameters")
        if any(len(self.holders[id(parameter)]) > 1 for parameter in layer.parameters(recurse=False)):
            raise _OrderMattersError(f"{name} shares a parameter with another layer")

    def _follow(self, value: fx.Node, place: _Place, norms: list[nn.Module], readers: list[nn.Module]) -> None:
        if not value.users:
            raise _OrderMattersError("nothing reads it")
        for node in value.users:
            if _asks_for_shape(node):
                continue
            if node.op == "output":
                raise _OrderMattersError("it is the model's output")
            module = self.model.get_submodule(str(node.target)) if node.op == "call_module" else None
            if node.all_input_nodes != [value] and not _is_flattening_view(node, value):
                raise _OrderMattersError(f"{node.name} reads it together with other values")
            if module is not None and weight_names(plain_layer(module)) == ("weight",):
                self._only_call(str(node.target))
                self._check_own(plain_layer(module), node.name)
                _check_reader(node.name, plain_layer(module), place)
                readers.append(module)
                continue
            if isinstance(module, _NORMS) and type(module) in _NORMS:
                self._only_call(str(node.target))
                if place.axis == "flat" or module.num_features != place.neurons:
                    raise _OrderMattersError(f"{node.name} norms other features than its neurons")
                norms.append(module)
            self._follow(node, _through(node, value, module, place), norms, readers)


def _through(node: fx.Node, value: fx.Node, module: nn.Module | None, place: _Place) -> _Place:
    """Where the neurons stand after ``node``, if it works on each by itself."""
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    called = called.removeprefix("_") if module is None else ""
    if type(module) in (*_ACTIVATIONS, *_NORMS) or called in _ACTIVATION_FUNCTIONS:
        return place
    if place.axis == "channels" and (type(module) in _POOLS or called in _POOL_FUNCTIONS):
        return place
    if _flattens(node, module, called) or _is_flattening_view(node, value):
        return place if place.axis == "last" else _Place("flat", place.neurons)
    raise _OrderMattersError(f"{node.name} reads it")


def _flattens(node: fx.Node, module: nn.Module | None, called: str) -> bool:
    """Whether ``node`` makes one axis of all but the first."""
    if type(module) is nn.Flatten:
        return bool(module.start_dim == 1 and module.end_dim == -1)
    given = {**dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)), **node.kwargs}
    return called == "flatten" and given in ({"start_dim": 1}, {"start_dim": 1, "end_dim": -1})


def _is_flattening_view(node: fx.Node, value: fx.Node) -> bool:
    """Whether ``node`` is ``value.view(value.shape[0], -1)``, or as people else write that."""
    if node.target not in ("view", "reshape") or len(node.args) != 3 or node.args[0] is not value:
        return False
    batch, rest = node.args[1:]
    return bool(rest == -1) and isinstance(batch, fx.Node) and _is_batch_size(batch)


def _asks_for_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in ("size", "dim")
    return bool(node.target is getattr and node.args[1] in ("shape", "device", "dtype"))


def _is_batch_size(node: fx.Node) -> bool:
    if node.op == "call_method" and node.target == "size":
        return bool(node.args[1:] == (0,))
    if node.target is not operator.getitem:
        return False
    shape, index = node.args
    return bool(index == 0) and isinstance(shape, fx.Node) and _asks_for_shape(shape)


def _check_reader(name: str, reader: nn.Module, place: _Place) -> None:
    linear = isinstance(reader, nn.Linear)
    inputs = int(reader.in_features if linear else reader.in_channels)  # type: ignore[arg-type]
    fits = {
        "last": linear and inputs == place.neurons,
        "channels": not linear and inputs == place.neurons,
        "flat": linear and inputs % place.neurons == 0,
    }
    if getattr(reader, "groups", 1) > 1:
        raise _OrderMattersError(f"{name}, a grouped convolution, reads it")
    if not fits[place.axis]:
        raise _OrderMattersError(f"{name} does not read one neuron after the other")
