"""A functional graph, walked node by node: constants folded, operations appended in order."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from sparbor.errors import ArgumentError
from sparbor.lower.folding import folded
from sparbor.lower.unpacked import LayerWeights, UnpackedProgram
from sparbor.ops.arguments import (
    WAY_OUT,
    Argument,
    BatchSize,
    Constant,
    Padded,
    Value,
    is_value,
    module_path,
    operator_name,
    refuse,
    where,
)
from sparbor.ops.shapes import PASS_THROUGH, RESHAPES
from sparbor.ops.table import LOWERINGS
from sparbor.program.program import Activation, Operation, ScaleShift, Settings
from sparbor.program.windows import Shape
from sparbor.topology.matrix import to_matrix


class Graph:
    """Walks a functional graph once, constants folded, operations appended in order.

    `masks` are those of weights that are zero wherever their mask is, by the weight's name; a mask that the graph
    multiplies by is found there. What is appended for each of PyTorch's operators, :mod:`sparbor.ops` says.
    """

    def __init__(self, exported: ExportedProgram, masks: Mapping[str, Tensor]) -> None:
        self.exported = exported
        self.masks = masks
        self.batch = ""  # how the graph calls the first dimension of the input
        self.shapes: list[Shape] = []
        self.operations: list[Operation] = []
        self.weights: dict[str, LayerWeights | ScaleShift] = {}
        self.known: dict[Node, Argument] = {}

    def lower(self) -> UnpackedProgram:
        first = output = None
        for node in self.exported.graph.nodes:
            if node.op == "placeholder":
                self.known[node] = self._placeholder(node)
                if isinstance(self.known[node], Value):
                    if first is not None:
                        raise ArgumentError("the model takes several inputs: the engine runs models of one")
                    first = self.known[node]
            elif node.op == "call_function":
                self.known[node] = self._call(node)
            elif node.op == "output":
                output = self._output(node)
            else:
                raise ArgumentError(f"the exported graph holds a {node.op} node, {node.name}: {WAY_OUT}")
        assert first is not None  # the output is a value, and values come from the input
        assert output is not None
        return folded(UnpackedProgram(tuple(self.shapes), first, output, tuple(self.operations), self.weights))

    def value(self, node: Node, argument: Argument) -> Value:
        """The argument of the node, if it is a value."""
        if isinstance(argument, Padded):
            raise ArgumentError(f"{where(node)} takes a padded value: the engine pads for convolutions only. {WAY_OUT}")
        if not isinstance(argument, Value):
            raise ArgumentError(f"{where(node)} takes a constant where the engine takes a value. {WAY_OUT}")
        return argument

    def result_shape(self, node: Node) -> Shape:
        """The shape of one item of the node's result, or of its first result."""
        result = node.meta["val"]
        result = result[0] if isinstance(result, (list, tuple)) else result
        batch, *shape = result.shape or [""]
        if str(batch) != self.batch or not all(isinstance(size, int) for size in shape):
            raise ArgumentError(
                f"{where(node)} gives shape ({', '.join(map(str, result.shape))}) for {self.batch} items: the batch "
                "must stay the first dimension, as in x.flatten(1) or x.view(x.shape[0], -1)"
            )
        if result.dtype != torch.float32:
            raise ArgumentError(f"{where(node)} computes in {result.dtype}: the engine computes in float32. {WAY_OUT}")
        return tuple(shape)

    def append(
        self,
        kind: str,
        inputs: tuple[Value, ...],
        shape: Shape,
        *,
        layer: str | None = None,
        activation: Activation | None = None,
        settings: Settings | None = None,
    ) -> Value:
        """A new value of this shape, computed from the inputs."""
        output = self._new_value(shape)
        numbers = tuple(int(value) for value in inputs)
        self.operations.append(Operation(kind, numbers, int(output), layer, activation, settings))
        return output

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """The value in another shape; the same if that is its own."""
        return value if self.shapes[value] == shape else self.append("reshape", (value,), shape)

    def in_rows(self, value: Value, dimensions: int = 1) -> Value:
        """The value as rows of what its last dimensions hold: the engine's rows have one dimension."""
        shape = self.shapes[value]
        features = math.prod(shape[len(shape) - dimensions :])
        rows = shape[: len(shape) - dimensions]
        return self.reshaped(value, (math.prod(rows), features) if rows else (features,))

    def made_by(self, value: Value) -> str:
        """The kind of operation that computes the value; empty for the input."""
        return next((each.kind for each in reversed(self.operations) if each.output == value), "")

    def layer_weights(
        self, name: str, weight: Constant, bias: Argument, groups: int = 1, transposed: bool = False
    ) -> None:
        """Keep a layer's weight and mask as matrices; of a convolution, whose kernels become rows, with its groups."""
        mask = weight.mask
        kept = weight.tensor if mask is None else weight.tensor.masked_fill(~mask, 0)
        if unusable := int((~kept.isfinite()).count_nonzero()):
            raise ArgumentError(
                f"layer {name!r}: {unusable} of its {kept.numel()} weights are NaN or infinite, so training has"
                " diverged: go back to an earlier checkpoint, and lower the learning rate or clip gradients"
            )
        if mask is not None and (stray := int(weight.tensor.masked_fill(mask, 0).count_nonzero())):
            raise ArgumentError(
                f"layer {name!r}: {stray} weights that its mask drops are not zero, and the model computes with them: "
                "call apply_mask() on the layer"
            )
        matrix = partial(to_matrix, groups=groups, transposed=transposed)
        self.weights[name] = LayerWeights(
            matrix(weight.tensor), None if bias is None else bias.tensor, None if mask is None else matrix(mask)
        )

    def tensor(self, argument: Argument) -> Tensor:
        """A constant, or a number, in double precision."""
        given = argument.tensor if isinstance(argument, Constant) else argument
        return torch.as_tensor(given, dtype=torch.float64)

    def layer_name(self, node: Node, weight: Argument = None) -> str:
        """The module's path, or that of the weight if the module has none of its own; each name is used once."""
        path = module_path(node)
        holds_weight = f"{path}.weight".removeprefix(".") in self.exported.state_dict
        if not holds_weight and isinstance(weight, Constant) and weight.name in self.exported.state_dict:
            path = weight.name.rpartition(".")[0]
        return self.unique(".".join(part for part in path.split(".") if part not in _WRAPPERS) or "layer")

    def unique(self, wanted: str) -> str:
        """The name, numbered if another layer has it."""
        name, count = wanted, 2
        while name in self.weights:
            name, count = f"{wanted}:{count}", count + 1
        return name

    def _placeholder(self, node: Node) -> Argument:
        signature = self.exported.graph_signature
        for names, holder in (
            (signature.inputs_to_parameters, self.exported.state_dict),
            (signature.inputs_to_buffers, {**self.exported.constants, **self.exported.state_dict}),
            (signature.inputs_to_lifted_tensor_constants, self.exported.constants),
        ):
            if node.name in names:
                name = names[node.name]
                return Constant(holder[name], name, self.masks.get(name))
        self.batch = str(node.meta["val"].shape[0])
        return self._new_value(self.result_shape(node))

    def _new_value(self, shape: Shape) -> Value:
        self.shapes.append(shape)
        return Value(len(self.shapes) - 1)

    def _call(self, node: Node) -> Argument:
        if isinstance(node.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return BatchSize()
        resolved: Any = map_arg((node.args, node.kwargs), self.known.__getitem__)
        args, kwargs = resolved
        name = operator_name(node)
        if node.target is operator.getitem and isinstance(args[0], tuple):
            return self._item(node, args[0], args[1])
        if name in PASS_THROUGH:
            return args[0]
        if name in RESHAPES and is_value(args[0]):
            args = args[:1]  # the others are the new shape, which the result has too, and may have the batch's size
        leaves = pytree.tree_leaves((args, kwargs))
        of_batch_size = any(isinstance(each, BatchSize) for each in leaves)
        if not any(map(is_value, leaves)):
            return BatchSize() if of_batch_size else self._constant(node, name, args, kwargs)
        lowering = LOWERINGS.get(name)
        if lowering is None:
            refuse(node, f"is an operation the engine does not know: {name}")
        if of_batch_size:
            raise ArgumentError(f"{where(node)}: {name} computes with the size of the batch. {WAY_OUT}")
        return lowering(self, node, *args, **kwargs)

    def _item(self, node: Node, results: tuple[Argument, ...], index: int) -> Argument:
        if results[index] is None and node.users:
            raise ArgumentError(
                f"{where(node)} is a result that the engine does not compute, such as indices. {WAY_OUT}"
            )
        return results[index]

    def _constant(self, node: Node, name: str, args: Sequence[Argument], kwargs: Mapping[str, Argument]) -> Argument:
        """What an operation makes of constants; a weight times a mask, a bool tensor, is that weight, masked."""
        assert callable(node.target)
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise ArgumentError(f"{where(node)} draws random numbers: a deployed model draws none")
        args_of_tensors, kwargs_of_tensors = pytree.tree_map(
            lambda each: each.tensor if isinstance(each, Constant) else each, (args, kwargs)
        )
        result = node.target(*args_of_tensors, **kwargs_of_tensors)
        if isinstance(result, (list, tuple)):
            return tuple(Constant(each, node.name) if isinstance(each, Tensor) else each for each in result)
        if not isinstance(result, Tensor):
            return result
        if name == "mul.Tensor" and all(isinstance(each, Constant) for each in args):
            mask, weight = sorted(args, key=lambda each: bool(each.tensor.dtype != torch.bool))
            if mask.tensor.dtype == torch.bool and mask.tensor.shape == result.shape == weight.tensor.shape:
                return Constant(result, weight.name, mask.tensor)
        return Constant(result, node.name)

    def _output(self, node: Node) -> Value:
        # A model that overwrites its input has that for a first output, which is the caller's loss, not ours.
        specs = self.exported.graph_signature.output_specs
        (results,) = node.args
        assert isinstance(results, (list, tuple))
        given = zip(results, specs, strict=True)
        found = [map_arg(each, self.known.__getitem__) for each, spec in given if spec.kind is OutputKind.USER_OUTPUT]
        if len(found) != 1:
            raise ArgumentError(f"the model returns {len(found)} values: the engine runs models that return one tensor")
        if isinstance(found[0], Padded):
            raise ArgumentError(f"the model returns a padded value: the engine pads for convolutions only. {WAY_OUT}")
        if not isinstance(found[0], Value):
            raise ArgumentError("the model's output does not depend on its input: there is nothing to run")
        return found[0]


# Attributes that hold the module a user named.
_WRAPPERS = {"", "main_module", "_orig_mod"}
