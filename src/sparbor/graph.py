"""An exported PyTorch graph, walked node by node: constants folded, operations appended in order."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.folding import LinearWeights, as_numpy, fuse, renumbered
from sparbor.packing import Precision
from sparbor.program import Activation, Affine, Operation, Program, Shape

EXPORT_BATCH = 3  # no usual size of anything else, so a shape that starts with it starts with the batch

# What each argument of an operation is: a value of the program, a constant tensor, or a plain Python object.
Argument: TypeAlias = Any


class _Value(int):
    """The number of a value of the program, to tell it from an integer argument."""


class Graph:
    """Walks an exported graph once, constants folded, operations appended in order."""

    def __init__(self, exported: torch.export.ExportedProgram, masks: dict[int, Tensor]) -> None:
        self.exported = exported
        self.masks = masks
        self.shapes: list[Shape] = []
        self.operations: list[Operation] = []
        self.weights: dict[str, LinearWeights | Affine] = {}
        self.known: dict[Node, Argument] = {}
        self.names: dict[int, str] = {}  # of constant tensors
        self.kept: list[Tensor] = []  # alive, so that identities stay their own

    def lower(self, batch: int, precision: Precision) -> Program:
        first = output = None
        for node in self.exported.graph.nodes:
            if node.op == "placeholder":
                self.known[node] = self._placeholder(node)
                if isinstance(self.known[node], _Value):
                    if first is not None:
                        raise ArgumentError("the model takes several inputs: the engine runs models of one")
                    first = self.known[node]
            elif node.op == "call_function":
                self.known[node] = self._call(node)
                if _name(node).partition(".")[0].endswith("_"):
                    self._overwrite(node)
            elif node.op == "output":
                output = self._output(node)
            else:
                raise ArgumentError(f"the exported graph holds a {node.op} node, {node.name}: {_WAY_OUT}")
        if first is None or output is None:
            raise ArgumentError("the model's output does not depend on its input: there is nothing to run")
        fused = fuse(self.operations, self.weights, output)
        rows = {operation.layer: math.prod(self.shapes[operation.output][:-1]) for operation in fused}
        layers = {
            name: weights if isinstance(weights, Affine) else weights.packed(batch * rows[name], precision)
            for name, weights in self.weights.items()
            if name in rows
        }
        return renumbered(self.shapes, first, output, fused, layers)

    def _placeholder(self, node: Node) -> Argument:
        signature = self.exported.graph_signature
        for names, holder in (
            (signature.inputs_to_parameters, self.exported.state_dict),
            (signature.inputs_to_buffers, {**self.exported.constants, **self.exported.state_dict}),
            (signature.inputs_to_lifted_tensor_constants, self.exported.constants),
        ):
            if node.name in names:
                return self._constant(holder[names[node.name]], names[node.name])
        return self._new_value(node)

    def _constant(self, tensor: Tensor, name: str) -> Tensor:
        self.kept.append(tensor)
        self.names[id(tensor)] = name
        return tensor

    def _new_value(self, node: Node) -> _Value:
        shape = tuple(node.meta["val"].shape)
        if any(not isinstance(size, int) for size in shape) or not shape or shape[0] != EXPORT_BATCH:
            raise ArgumentError(
                f"{_where(node)} gives shape {shape} for a batch of {EXPORT_BATCH}: the batch must stay the "
                "first dimension, as in x.flatten(1) or x.view(len(x), -1)"
            )
        self.shapes.append(shape[1:])
        return _Value(len(self.shapes) - 1)

    def _resolve(self, argument: Any) -> Argument:
        if isinstance(argument, Node):
            return self.known[argument]
        if isinstance(argument, (list, tuple)):
            return type(argument)(self._resolve(each) for each in argument)
        return argument

    def _call(self, node: Node) -> Argument:
        args = [self._resolve(argument) for argument in node.args]
        kwargs = {name: self._resolve(argument) for name, argument in node.kwargs.items()}
        if not any(isinstance(each, _Value) for each in _leaves([args, kwargs])):
            assert callable(node.target)
            return self._folded(node, node.target(*args, **kwargs), args)
        name = _name(node)
        if node.target is operator.getitem and isinstance(args[0], tuple):
            return args[0][args[1]]
        if name in _PASS_THROUGH:
            return args[0]
        if name in _RESHAPES:
            return self._append(node, "reshape", args[0])
        if name in _ACTIVATIONS:
            return self._append(node, "activation", args[0], activation=_activation(node, name, args, kwargs))
        lowering = _LOWERINGS.get(name)
        if lowering is None:
            raise ArgumentError(f"{_where(node)} is an operation the engine does not know: {name}. {_WAY_OUT}")
        return lowering(self, node, *args, **kwargs)

    def _folded(self, node: Node, result: Any, args: list[Argument]) -> Argument:
        """What an operation makes of constants; a masked weight times its mask is still that weight."""
        if not isinstance(result, Tensor):
            return result
        weight = next((each for each in args if isinstance(each, Tensor) and id(each) in self.masks), None)
        if weight is None or result.shape != weight.shape:
            return self._constant(result, node.name)
        self.masks[id(result)] = self.masks[id(weight)]
        return self._constant(result, self.names[id(weight)])

    def _overwrite(self, node: Node) -> None:
        """An operation in place: whoever reads its argument from here on reads its result."""
        old, new = self.known[node.args[0]], self.known[node]  # type: ignore[index]
        if isinstance(old, _Value):
            for each, value in self.known.items():
                if isinstance(value, _Value) and value == old:
                    self.known[each] = new

    def _append(
        self,
        node: Node,
        kind: str,
        *inputs: Argument,
        layer: str | None = None,
        activation: Activation | None = None,
    ) -> _Value:
        for each in inputs:
            if not isinstance(each, _Value):
                raise ArgumentError(f"{_where(node)} takes a constant where the engine takes a value. {_WAY_OUT}")
        output = self._new_value(node)
        self.operations.append(Operation(kind, tuple(map(int, inputs)), int(output), layer, activation))
        return output

    def _output(self, node: Node) -> _Value:
        (results,) = node.args
        found = [self._resolve(each) for each in results] if isinstance(results, (list, tuple)) else []
        if len(found) != 1 or not isinstance(found[0], _Value):
            raise ArgumentError(f"the model returns {len(found)} values: the engine runs models that return one tensor")
        return found[0]

    def linear(self, node: Node, x: Argument, weight: Tensor, bias: Tensor | None = None) -> _Value:
        if not isinstance(weight, Tensor) or isinstance(bias, _Value):
            raise ArgumentError(f"{_where(node)} multiplies two computed values. {_WAY_OUT}")
        path = self.names[id(weight)].removesuffix("weight").split(".")
        name = self._layer_name(".".join(each for each in path if each not in ("", "main_module")))
        mask = self.masks.get(id(weight))
        self.weights[name] = LinearWeights(weight, bias, mask)
        return self._append(node, "linear", x, layer=name)

    def batch_norm(
        self,
        node: Node,
        x: Argument,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor | None,
        variance: Tensor | None,
        training: bool,
        momentum: float,
        epsilon: float,
        cudnn: bool = False,
    ) -> _Value:
        if mean is None or variance is None:
            raise ArgumentError(f"{_where(node)} is a batch norm without running statistics: track them in training")
        if len(self.shapes[x]) != 1:
            raise ArgumentError(f"{_where(node)} is a batch norm over {len(self.shapes[x])} dimensions. {_WAY_OUT}")
        scale = torch.rsqrt(variance.double() + epsilon) * (1.0 if weight is None else weight.double())
        shift = (0.0 if bias is None else bias.double()) - mean.double() * scale
        name = self._layer_name(node.name)
        self.weights[name] = Affine(as_numpy(scale), as_numpy(shift))
        return self._append(node, "affine", x, layer=name)

    def softmax(self, node: Node, x: Argument, dim: int, *_: Any, **__: Any) -> _Value:
        if dim not in (-1, len(self.shapes[x])):
            raise ArgumentError(f"{_where(node)} is a softmax over dimension {dim}: the engine has it over the last")
        return self._append(node, "softmax", x)

    def add(self, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> _Value:
        if alpha != 1:
            raise ArgumentError(f"{_where(node)} adds with alpha={alpha}: the engine adds with 1. {_WAY_OUT}")
        if isinstance(left, _Value) and isinstance(right, _Value):
            if self.shapes[left] != self.shapes[right]:
                shapes = f"{self.shapes[left]} and {self.shapes[right]}"
                raise ArgumentError(f"{_where(node)} adds shapes {shapes}: the engine adds equal ones")
            return self._append(node, "add", left, right)
        raise ArgumentError(f"{_where(node)} adds a constant. {_WAY_OUT}")

    def _layer_name(self, wanted: str) -> str:
        wanted = wanted or "layer"
        name, count = wanted, 2
        while name in self.weights:
            name, count = f"{wanted}:{count}", count + 1
        return name


def _leaves(arguments: Any) -> Iterator[Any]:
    if isinstance(arguments, dict):
        arguments = list(arguments.values())
    if isinstance(arguments, (list, tuple)):
        for each in arguments:
            yield from _leaves(each)
    else:
        yield arguments


def _name(node: Node) -> str:
    return (
        str(node.target).removeprefix("aten.") if isinstance(node.target, torch._ops.OpOverload) else str(node.target)
    )


def _where(node: Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return f"{paths[-1]} ({node.name})" if paths else node.name


_WAY_OUT = (
    "Keep that part in PyTorch and deploy the rest, or replace it by what the engine has: linear layers, the "
    "common activations, flatten and reshape, addition, batch norm, softmax and dropout"
)

_PASS_THROUGH = {
    "dropout.default",
    "feature_dropout.default",
    "alpha_dropout.default",
    "native_dropout.default",
    "contiguous.default",
    "clone.default",
    "alias.default",
    "detach.default",
    "detach_.default",
    "lift_fresh_copy.default",
    "_assert_tensor_metadata.default",
}

_RESHAPES = {
    "flatten.using_ints",
    "unflatten.int",
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
}

# The engine's activation, and the default values of its parameters in the order of the operation's arguments.
_ACTIVATIONS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "relu.default": ("relu", ()),
    "relu6.default": ("clamp", (0.0, 6.0)),
    "hardtanh.default": ("clamp", (-1.0, 1.0)),
    "leaky_relu.default": ("leaky_relu", (0.01,)),
    "elu.default": ("elu", (1.0, 1.0)),
    "selu.default": ("elu", (1.6732632423543772, 1.0507009873554805)),
    "gelu.default": ("gelu", ()),
    "silu.default": ("silu", ()),
    "sigmoid.default": ("sigmoid", ()),
    "tanh.default": ("tanh", ()),
    "hardswish.default": ("hardswish", ()),
    "hardsigmoid.default": ("hardsigmoid", ()),
    "softplus.default": ("softplus", (1.0, 20.0)),
}
_ACTIVATIONS = {
    **_ACTIVATIONS,
    **{name.replace(".default", "_.default"): activation for name, activation in _ACTIVATIONS.items()},
}


def _activation(node: Node, name: str, args: list[Argument], kwargs: dict[str, Argument]) -> Activation:
    kind, defaults = _ACTIVATIONS[name]
    if kind == "gelu":
        approximate = kwargs.get("approximate", args[1] if len(args) > 1 else "none")
        return Activation("gelu_tanh" if approximate == "tanh" else "gelu")
    given = [*args[1:], *kwargs.values()]
    if kind == "elu" and len(given) > 2 and given[2] != 1:
        raise ArgumentError(f"{_where(node)} is an ELU with input_scale={given[2]}. {_WAY_OUT}")
    given = given[: len(defaults)]
    return Activation(kind, tuple(float(value) for value in (*given, *defaults[len(given) :])))


_LOWERINGS: Mapping[str, Callable[..., _Value]] = {
    "linear.default": Graph.linear,
    "batch_norm.default": Graph.batch_norm,
    "softmax.int": Graph.softmax,
    "_softmax.default": Graph.softmax,
    "add.Tensor": Graph.add,
    "add_.Tensor": Graph.add,
}
