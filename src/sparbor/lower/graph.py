"""A functional graph, walked node by node: constants folded, operations appended in order."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.export.graph_signature import OutputKind
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from sparbor.errors import ArgumentError
from sparbor.lower.constants import evaluated
from sparbor.lower.folding import folded
from sparbor.lower.sizes import BATCH, Sizes, UnnamedSizeError
from sparbor.lower.tracing import FreeSizes, Traced
from sparbor.lower.unpacked import LayerWeights, TableWeights, UnpackedProgram
from sparbor.ops.arguments import (
    WAY_OUT,
    Argument,
    Constant,
    Lacking,
    Padded,
    Size,
    Value,
    is_value,
    module_path,
    operator_name,
    where,
)
from sparbor.ops.arrays import size_as_value
from sparbor.ops.complex_numbers import is_complex, of_parts
from sparbor.ops.padding import padded
from sparbor.ops.shapes import PASS_THROUGH, RESHAPES
from sparbor.ops.table import LOWERINGS
from sparbor.program.program import (
    DTYPES,
    Activation,
    ConstantArray,
    Dimensions,
    Operation,
    Order,
    Port,
    ScaleShift,
    Settings,
    ValueType,
)
from sparbor.topology.matrix import to_matrix


class Graph:
    """Walks a functional graph once, constants folded, operations appended in order.

    `masks` are those of weights that are zero wherever their mask is, by the weight's name; a mask that the graph
    multiplies by is found there. What is appended for each of PyTorch's operators, :mod:`sparbor.ops` says.
    """

    def __init__(self, traced: Traced, masks: Mapping[str, Tensor], free: FreeSizes) -> None:
        self.exported, self.traced = traced.exported, traced
        self.masks, self.free = masks, free
        self.sizes = Sizes()
        self.values: list[ValueType] = []
        self.operations: list[Operation] = []
        self.weights: dict[str, LayerWeights | ScaleShift | ConstantArray | TableWeights] = {}
        self.known: dict[Node, Argument] = {}
        self.inputs: list[Port] = []
        self._constants: dict[Any, Value] = {}  # small ones, which graphs have again and again
        self.faults: list[str] = []  # what the engine lacks

    def lower(self) -> UnpackedProgram:
        """The program; raises ArgumentError, which names all that the engine lacks."""
        outputs: tuple[Port, ...] = ()
        for node in self.exported.graph.nodes:
            if node.op == "placeholder":
                self.known[node] = self._placeholder(node)
            elif node.op == "call_function":
                self.known[node] = self._call_or_note(node)
            elif node.op == "output":
                outputs = self._outputs(node)
            else:
                raise ArgumentError(f"the exported graph holds a {node.op} node, {node.name}: {WAY_OUT}")
        if self.faults:
            raise ArgumentError(_all_of(self.faults))
        return folded(
            UnpackedProgram(tuple(self.values), tuple(self.inputs), outputs, tuple(self.operations), self.weights)
        )

    def value(self, node: Node, argument: Argument) -> Value:
        """The argument of the node as a value: constants and numbers become one, and zeros are put around."""
        if isinstance(argument, Value):
            return argument
        if isinstance(argument, Padded):
            return padded(self, argument)
        if isinstance(argument, Constant):
            return self.constant(argument.tensor.detach().cpu().numpy(), argument.name)
        if isinstance(argument, (bool, int, float)):
            return self.constant(np.array(argument))
        if isinstance(argument, Size):
            return size_as_value(self, node, argument)
        raise ArgumentError(f"{where(node)} takes a {type(argument).__name__}, which is no value. {WAY_OUT}")

    def shape(self, value: Value) -> Dimensions:
        return self.values[value].shape

    def dtype(self, value: Value) -> str:
        """One of :data:`sparbor.program.program.DTYPES`."""
        return self.values[value].type

    def result(self, node: Node) -> ValueType:
        """Type and shape of the node's result, or of its first result."""
        result = node.meta["val"]
        result = result[0] if isinstance(result, (list, tuple)) else result
        return ValueType(_number_type(node, result.dtype), self.dimensions(node, result.shape))

    def result_shape(self, node: Node) -> Dimensions:
        """The shape of the node's result, or of its first result."""
        return self.result(node).shape

    def dimensions(self, node: Node, sizes: Sequence[Any]) -> Dimensions:
        """Sizes as PyTorch has them as dimensions of the program."""
        try:
            return tuple(self.sizes.of(getattr(size, "symbol", size)) for size in sizes)
        except UnnamedSizeError as error:
            raise ArgumentError(f"{where(node)}: {error}, which the engine cannot compute. {WAY_OUT}") from None

    def append(
        self,
        kind: str,
        inputs: tuple[Value, ...],
        shape: Dimensions,
        *,
        dtype: str = "f32",
        layer: str | None = None,
        activation: Activation | None = None,
        settings: Settings | None = None,
    ) -> Value:
        """A new value of this shape, computed from the inputs."""
        output = self._new_value(ValueType(dtype, shape))
        numbers = tuple(int(value) for value in inputs)
        self.operations.append(Operation(kind, numbers, int(output), layer, activation, settings))
        return output

    def constant(self, numbers: npt.NDArray[Any], name: str = "constant") -> Value:
        """A value that is these numbers in every call; floats become float32."""
        numbers = np.asarray(numbers, np.float32 if np.issubdtype(numbers.dtype, np.floating) else numbers.dtype, "C")
        small = numbers.size <= _SMALL and (numbers.dtype.str, numbers.shape, numbers.tobytes())
        if small and small in self._constants:
            return self._constants[small]
        name = self.unique(name)
        self.weights[name] = ConstantArray(numbers)
        value = self.append("constant", (), numbers.shape, dtype=_TYPES[str(numbers.dtype)], layer=name)
        if small:
            self._constants[small] = value
        return value

    def reshaped(self, value: Value, shape: Dimensions) -> Value:
        """The value in another shape; the same if that is its own."""
        if self.shape(value) == shape:
            return value
        return self.append("reshape", (value,), shape, dtype=self.dtype(value))

    def permuted(self, value: Value, order: Sequence[int]) -> Value:
        """The value with its dimensions in another order."""
        shape, order = self.shape(value), tuple(each % max(1, len(order)) for each in order)
        if order == tuple(range(len(shape))):
            return value
        turned = tuple(shape[each] for each in order)
        return self.append("permute", (value,), turned, dtype=self.dtype(value), settings=Order(order))

    def expanded(self, value: Value, shape: Dimensions) -> Value:
        """The value repeated along dimensions of 1, and along new ones before its own."""
        own = self.shape(value)
        value = self.reshaped(value, (*(1,) * (len(shape) - len(own)), *own))
        return value if self.shape(value) == shape else self.append("expand", (value,), shape, dtype=self.dtype(value))

    def cast(self, value: Value, dtype: str) -> Value:
        """The value in another type of numbers; the same if that is its own."""
        if self.dtype(value) == dtype:
            return value
        return self.append("cast", (value,), self.shape(value), dtype=dtype)

    def made_by(self, value: Value) -> str:
        """The kind of operation that computes the value; empty for an input."""
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

    def keep_table(self, name: str, rows: npt.NDArray[np.float32]) -> None:
        """Keep the rows that an embedding looks up."""
        self.weights[name] = TableWeights(rows)

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
        given = node.meta["val"]
        if not isinstance(given, Tensor):
            return given  # a plain argument, which stays as it is
        name = self.traced.inputs[len(self.inputs)]
        shape = tuple(
            self.sizes.name(size, *self._size_names(name, axis, given)) for axis, size in enumerate(given.shape)
        )
        value = self._new_value(ValueType(_number_type(node, given.dtype), shape))
        self.inputs.append(Port(name, int(value)))
        return value

    def _size_names(self, name: str, axis: int, given: Tensor) -> tuple[str, str]:
        """How the size of an input's dimension is called, and how it is if another one has that name already.

        Sizes that the user has called the same are the same.
        """
        if chosen := self.free.get(name, {}).get(axis):
            return chosen, chosen
        usual = BATCH if axis == 0 else "sequence" if axis == 1 or given.dim() == 1 else "length"
        return usual, f"{name}_{axis}"

    def _new_value(self, value: ValueType) -> Value:
        self.values.append(value)
        return Value(len(self.values) - 1)

    def _call_or_note(self, node: Node) -> Argument:
        """What the node stands for; what the engine lacks is noted, to be told with all else that it lacks."""
        if any(isinstance(self.known[each], Lacking) for each in node.all_input_nodes):
            if self._lowering(node) is None and not isinstance(node.target, type(operator.getitem)):
                self._note(_unknown(node))
            return Lacking()
        try:
            return self._call(node)
        except ArgumentError as error:
            self._note(str(error))
            return Lacking()

    def _note(self, fault: str) -> None:
        if fault not in self.faults:
            self.faults.append(fault)

    def _lowering(self, node: Node) -> Any:
        name = operator_name(node)
        return LOWERINGS.get(name) or (name in PASS_THROUGH or None)

    def _call(self, node: Node) -> Argument:
        if isinstance(node.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return Size(node.meta["val"])
        if isinstance(result := node.meta.get("val"), Tensor) and any(
            isinstance(size, int) and size == 0 for size in result.shape
        ):
            return Constant(torch.empty(0), node.name)  # nothing, which concatenations leave out
        resolved: Any = map_arg((node.args, node.kwargs), self.known.__getitem__)
        args, kwargs = resolved
        name = operator_name(node)
        if node.target is operator.getitem and isinstance(args[0], (tuple, list)):
            return self._item(node, args[0], args[1])
        if name in PASS_THROUGH and is_value(args[0]):
            return args[0]
        if name in RESHAPES and is_value(args[0]):
            args = args[:1]  # the others are the new shape, which the result has too
        leaves = pytree.tree_leaves((args, kwargs))
        if not any(is_value(each) or isinstance(each, Size) for each in leaves):
            return evaluated(node, args, kwargs)
        lowering = LOWERINGS.get(name)
        if any(map(is_complex, leaves)):
            return of_parts(self, node, name, lowering, args, kwargs)
        if lowering is None:
            if node.users:
                raise ArgumentError(_unknown(node))
            return None  # it computes nothing, but makes sure of something
        return lowering(self, node, *args, **kwargs)

    def _item(self, node: Node, results: Sequence[Argument], index: int) -> Argument:
        if results[index] is None and node.users:
            raise ArgumentError(
                f"{where(node)} is a result that the engine does not compute, such as indices. {WAY_OUT}"
            )
        return results[index]

    def _outputs(self, node: Node) -> tuple[Port, ...]:
        # A model that overwrites its input has that for a first output, which is the caller's loss, not ours.
        specs = self.exported.graph_signature.output_specs
        (results,) = node.args
        assert isinstance(results, (list, tuple))
        given = zip(results, specs, strict=True)
        found = [map_arg(each, self.known.__getitem__) for each, spec in given if spec.kind is OutputKind.USER_OUTPUT]
        if not any(is_value(each) or isinstance(each, Lacking) for each in found):
            raise ArgumentError("the model's output does not depend on its input: there is nothing to run")
        return tuple(
            Port(name, int(self.value(node, each)))
            for name, each in zip(self.traced.outputs, found, strict=True)
            if not isinstance(each, Lacking)
        )


_SMALL = 64  # numbers
_TYPES = {**{dtype: name for name, dtype in DTYPES.items()}, "complex64": "f32"}  # that of both parts


def _number_type(node: Node, dtype: torch.dtype) -> str:
    """The program's name of the type of a node's numbers."""
    if (name := _TYPES.get(str(dtype).removeprefix("torch."))) is not None:
        return name
    raise ArgumentError(f"{where(node)} computes in {dtype}: the engine computes in float32. {WAY_OUT}")


def _unknown(node: Node) -> str:
    return f"{where(node)} is an operation the engine does not know: {operator_name(node)}. {WAY_OUT}"


def _all_of(faults: Sequence[str]) -> str:
    """All faults in one line, and once the way out."""
    if len(faults) == 1:
        return faults[0]
    several = "; ".join(fault.removesuffix(f". {WAY_OUT}") for fault in faults)
    return f"the engine lacks {len(faults)} things that the model does: {several}. {WAY_OUT}"


# Attributes that hold the module a user named.
_WRAPPERS = {"", "main_module", "_orig_mod"}
