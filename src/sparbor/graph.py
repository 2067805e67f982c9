"""A functional graph, walked node by node: constants folded, operations appended in order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.folding import LinearWeights, Lowered, as_numpy, fuse, renumbered
from sparbor.program import Activation, Affine, Operation, Shape
from sparbor.tracing import module_path, where


class _Value(int):
    """The number of a value of the program, to tell it from an integer argument."""


@dataclass(frozen=True)
class _Constant:
    """A tensor that does not depend on the input: what it is called, and the mask that it was multiplied by."""

    tensor: Tensor
    name: str
    mask: Tensor | None = None


class _BatchSize:
    """A number that depends on the size of the batch."""


# What each argument of an operation is: one of the above, or a plain Python object.
Argument: TypeAlias = Any


class Graph:
    """Walks a functional graph once, constants folded, operations appended in order.

    `masks` are those of weights that are zero wherever their mask is, by the weight's name; a mask that the graph
    multiplies by is found there.
    """

    def __init__(self, exported: ExportedProgram, masks: Mapping[str, Tensor]) -> None:
        self.exported = exported
        self.masks = masks
        self.batch = ""  # how the graph calls the first dimension of the input
        self.shapes: list[Shape] = []
        self.operations: list[Operation] = []
        self.weights: dict[str, LinearWeights | Affine] = {}
        self.known: dict[Node, Argument] = {}

    def lower(self) -> Lowered:
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
            elif node.op == "output":
                output = self._output(node)
            else:
                raise ArgumentError(f"the exported graph holds a {node.op} node, {node.name}: {_WAY_OUT}")
        assert first is not None  # the output is a value, and values come from the input
        assert output is not None
        return renumbered(self.shapes, first, output, fuse(self.operations, self.weights, output), self.weights)

    def _placeholder(self, node: Node) -> Argument:
        signature = self.exported.graph_signature
        for names, holder in (
            (signature.inputs_to_parameters, self.exported.state_dict),
            (signature.inputs_to_buffers, {**self.exported.constants, **self.exported.state_dict}),
            (signature.inputs_to_lifted_tensor_constants, self.exported.constants),
        ):
            if node.name in names:
                name = names[node.name]
                return _Constant(holder[name], name, self.masks.get(name))
        self.batch = str(node.meta["val"].shape[0])
        return self._new_value(node)

    def _new_value(self, node: Node) -> _Value:
        result = node.meta["val"]
        result = result[0] if isinstance(result, (list, tuple)) else result
        batch, *shape = result.shape or [""]
        if str(batch) != self.batch or not all(isinstance(size, int) for size in shape):
            raise ArgumentError(
                f"{where(node)} gives shape ({', '.join(map(str, result.shape))}) for {self.batch} items: the batch "
                "must stay the first dimension, as in x.flatten(1) or x.view(x.shape[0], -1)"
            )
        if result.dtype != torch.float32:
            raise ArgumentError(f"{where(node)} computes in {result.dtype}: the engine computes in float32. {_WAY_OUT}")
        self.shapes.append(tuple(shape))
        return _Value(len(self.shapes) - 1)

    def _resolve(self, argument: Any) -> Argument:
        if isinstance(argument, Node):
            return self.known[argument]
        if isinstance(argument, (list, tuple)):
            return type(argument)(self._resolve(each) for each in argument)
        return argument

    def _call(self, node: Node) -> Argument:
        if isinstance(node.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return _BatchSize()
        args = [self._resolve(argument) for argument in node.args]
        kwargs = {name: self._resolve(argument) for name, argument in node.kwargs.items()}
        name = _name(node)
        if node.target is operator.getitem and isinstance(args[0], tuple):
            return args[0][args[1]]
        if name in _PASS_THROUGH:
            return args[0]
        if name in _RESHAPES and isinstance(args[0], _Value):
            return self._append(node, "reshape", args[0])
        leaves = list(_leaves([args, kwargs]))
        if any(isinstance(each, _BatchSize) for each in leaves):
            raise ArgumentError(f"{where(node)}: {name} computes with the size of the batch. {_WAY_OUT}")
        if not any(isinstance(each, _Value) for each in leaves):
            return self._folded(node, args, kwargs)
        if name in _ACTIVATIONS:
            return self._append(node, "activation", args[0], activation=_activation(node, name, args, kwargs))
        lowering = _LOWERINGS.get(name)
        if lowering is None:
            raise ArgumentError(f"{where(node)} is an operation the engine does not know: {name}. {_WAY_OUT}")
        return lowering(self, node, *args, **kwargs)

    def _folded(self, node: Node, args: list[Argument], kwargs: dict[str, Argument]) -> Argument:
        """What an operation makes of constants; a weight times a mask, a bool tensor, is that weight, masked."""
        assert callable(node.target)
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise ArgumentError(f"{where(node)} draws random numbers: a deployed model draws none")
        result = node.target(*_tensors(args), **_tensors(kwargs))
        if isinstance(result, (list, tuple)):
            return tuple(_Constant(each, node.name) if isinstance(each, Tensor) else each for each in result)
        if not isinstance(result, Tensor):
            return result
        if _name(node) == "mul.Tensor" and all(isinstance(each, _Constant) for each in args):
            mask, weight = sorted(args, key=lambda each: bool(each.tensor.dtype != torch.bool))
            if mask.tensor.dtype == torch.bool and mask.tensor.shape == result.shape == weight.tensor.shape:
                return _Constant(result, weight.name, mask.tensor)
        return _Constant(result, node.name)

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
                raise ArgumentError(f"{where(node)} takes a constant where the engine takes a value. {_WAY_OUT}")
        output = self._new_value(node)
        self.operations.append(Operation(kind, tuple(map(int, inputs)), int(output), layer, activation))
        return output

    def _output(self, node: Node) -> _Value:
        # A model that overwrites its input has that for a first output, which is the caller's loss, not ours.
        specs = self.exported.graph_signature.output_specs
        (results,) = node.args
        assert isinstance(results, (list, tuple))
        given = zip(results, specs, strict=True)
        found = [self._resolve(each) for each, spec in given if spec.kind is OutputKind.USER_OUTPUT]
        if len(found) != 1:
            raise ArgumentError(f"the model returns {len(found)} values: the engine runs models that return one tensor")
        if not isinstance(found[0], _Value):
            raise ArgumentError("the model's output does not depend on its input: there is nothing to run")
        return found[0]

    def linear(self, node: Node, x: Argument, weight: Argument, bias: Argument = None) -> _Value:
        if not isinstance(weight, _Constant) or isinstance(bias, _Value):
            raise ArgumentError(f"{where(node)} multiplies two computed values. {_WAY_OUT}")
        name = self._layer_name(node, weight)
        if weight.mask is not None and (stray := int(weight.tensor.masked_fill(weight.mask, 0).count_nonzero())):
            raise ArgumentError(
                f"layer {name!r}: {stray} weights that its mask drops are not zero, and the model computes with them: "
                "call apply_mask() on the layer"
            )
        self.weights[name] = LinearWeights(weight.tensor, None if bias is None else bias.tensor, weight.mask)
        return self._append(node, "linear", x, layer=name)

    def batch_norm(
        self,
        node: Node,
        x: Argument,
        weight: _Constant | None,
        bias: _Constant | None,
        mean: _Constant,
        variance: _Constant,
        momentum: float,
        epsilon: float,
    ) -> tuple[_Value, None, None]:
        name = self._layer_name(node, variance)
        if len(self.shapes[x]) != 1:
            raise ArgumentError(f"{name} is a batch norm over {len(self.shapes[x])} dimensions. {_WAY_OUT}")
        scale = torch.rsqrt(variance.tensor.double() + epsilon)
        if weight is not None:
            scale *= weight.tensor
        shift = -mean.tensor.double() * scale
        if bias is not None:
            shift += bias.tensor
        affine = Affine(as_numpy(scale), as_numpy(shift))
        if not (np.isfinite(affine.scale).all() and np.isfinite(affine.shift).all()):
            raise ArgumentError(f"layer {name!r} is a batch norm that divides by 0 or holds NaN or infinity: mend it")
        self.weights[name] = affine
        return self._append(node, "affine", x, layer=name), None, None

    def softmax(self, node: Node, x: Argument, dim: int, *_: Any, **__: Any) -> _Value:
        if not self.shapes[x] or dim not in (-1, len(self.shapes[x])):
            raise ArgumentError(f"{where(node)} is a softmax over dimension {dim}: the engine has it over the last")
        return self._append(node, "softmax", x)

    def add(self, node: Node, left: Argument, right: Argument, *, alpha: float = 1) -> _Value:
        if alpha != 1:
            raise ArgumentError(f"{where(node)} adds with alpha={alpha}: the engine adds with 1. {_WAY_OUT}")
        if isinstance(left, _Value) and isinstance(right, _Value):
            if self.shapes[left] != self.shapes[right]:
                shapes = f"{self.shapes[left]} and {self.shapes[right]}"
                raise ArgumentError(f"{where(node)} adds shapes {shapes}: the engine adds equal ones")
            return self._append(node, "add", left, right)
        raise ArgumentError(f"{where(node)} adds a constant. {_WAY_OUT}")

    def _layer_name(self, node: Node, weight: _Constant) -> str:
        """The module's path, or that of the weight if the module has none of its own; each name is used once."""
        path = module_path(node)
        holds_weight = f"{path}.weight".removeprefix(".") in self.exported.state_dict
        if not holds_weight and weight.name in self.exported.state_dict:
            path = weight.name.rpartition(".")[0]
        wanted = ".".join(part for part in path.split(".") if part not in _WRAPPERS) or "layer"
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


def _tensors(arguments: Any) -> Any:
    """The arguments with their constants' tensors."""
    if isinstance(arguments, dict):
        return {name: _tensors(each) for name, each in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return type(arguments)(_tensors(each) for each in arguments)
    return arguments.tensor if isinstance(arguments, _Constant) else arguments


def _name(node: Node) -> str:
    return str(node.target).removeprefix("aten.")


# Attributes that hold the module a user named.
_WRAPPERS = {"", "main_module", "_orig_mod"}

_WAY_OUT = (
    "Keep that part in PyTorch and deploy the rest, or replace it by what the engine has: linear layers, the "
    "common activations, flatten and reshape, addition, batch norm, softmax and dropout"
)

_PASS_THROUGH = {
    "clone.default",  # also a dropout that evaluates
    "alias.default",
    "detach.default",
    "lift_fresh_copy.default",
    "_assert_tensor_metadata.default",
}

_RESHAPES = {
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


def _activation(node: Node, name: str, args: list[Argument], kwargs: dict[str, Argument]) -> Activation:
    kind, defaults = _ACTIVATIONS[name]
    if kind == "gelu":
        approximate = kwargs.get("approximate", args[1] if len(args) > 1 else "none")
        return Activation("gelu_tanh" if approximate == "tanh" else "gelu")
    given = [*args[1:], *kwargs.values()]
    if kind == "elu" and len(given) > 2 and given[2] != 1:
        raise ArgumentError(f"{where(node)} is an ELU with input_scale={given[2]}. {_WAY_OUT}")
    given = given[: len(defaults)]
    return Activation(kind, tuple(float(value) for value in (*given, *defaults[len(given) :])))


_LOWERINGS: Mapping[str, Callable[..., Argument]] = {
    "linear.default": Graph.linear,
    "_native_batch_norm_legit_no_training.default": Graph.batch_norm,
    "softmax.int": Graph.softmax,
    "_softmax.default": Graph.softmax,
    "add.Tensor": Graph.add,
}
