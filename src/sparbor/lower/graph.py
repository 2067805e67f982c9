"""A functional graph, walked node by node: constants folded, operations appended in order."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export.graph_signature import OutputKind
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from sparbor.errors import ArgumentError
from sparbor.lower.builder import TYPES, Builder
from sparbor.lower.constants import evaluated
from sparbor.lower.folding import folded
from sparbor.lower.sizes import BATCH, Sizes, UnnamedSizeError
from sparbor.lower.states import next_of
from sparbor.lower.tracing import FreeSizes, Traced
from sparbor.lower.unpacked import UnpackedProgram
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
from sparbor.ops.table import LOWERINGS, is_known
from sparbor.program.program import (
    Dimensions,
    Port,
    ValueType,
)


class Graph(Builder):
    """Walks a functional graph once, constants folded, operations appended in order.

    `masks` are those of weights that are zero wherever their mask is, by the weight's name; a mask that the graph
    multiplies by is found there. What is appended for each of PyTorch's operators, :mod:`sparbor.ops` says.
    """

    def __init__(self, traced: Traced, masks: Mapping[str, Tensor], free: FreeSizes) -> None:
        super().__init__()
        self.exported, self.traced = traced.exported, traced
        self._states = {buffer: name for name, buffer in traced.states.items()}
        self.masks, self.free = masks, free
        self.sizes = Sizes()
        self.known: dict[Node, Argument] = {}
        self.inputs: list[Port] = []
        self.buffers: list[Port] = []  # that are inputs too, because the model changes them
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
        inputs = (*self.inputs, *self.buffers)
        states = tuple((name, next_of(name)) for name in self.traced.states)
        return folded(
            UnpackedProgram(tuple(self.values), inputs, outputs, tuple(self.operations), self.weights, states)
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
        return self._name_without_wrappers(path)

    def weight_name(self, weight: Constant) -> str:
        """The path of a weight, where a module has several; each name is used once."""
        return self._name_without_wrappers(weight.name)

    def _name_without_wrappers(self, path: str) -> str:
        return self.unique(".".join(part for part in path.split(".") if part not in _WRAPPERS) or "layer")

    def _placeholder(self, node: Node) -> Argument:
        signature = self.exported.graph_signature
        for names, holder in (
            (signature.inputs_to_parameters, self.exported.state_dict),
            (signature.inputs_to_buffers, {**self.exported.constants, **self.exported.state_dict}),
            (signature.inputs_to_lifted_tensor_constants, self.exported.constants),
        ):
            if node.name in names:
                name = names[node.name]
                if name in self._states:
                    return self._buffer(node, self._states[name])
                return Constant(holder[name], name, self.masks.get(name))
        given = node.meta["val"]
        if not isinstance(given, Tensor):
            return given  # a plain argument, which stays as it is
        name = self.traced.inputs[len(self.inputs)]
        shape = tuple(
            self.sizes.name(size, *self._size_names(name, axis, given)) for axis, size in enumerate(given.shape)
        )
        value = self.new_value(ValueType(_number_type(node, given.dtype), shape))
        self.inputs.append(Port(name, int(value)))
        return value

    def _buffer(self, node: Node, name: str) -> Value:
        given = node.meta["val"]
        value = self.new_value(ValueType(_number_type(node, given.dtype), self.dimensions(node, given.shape)))
        self.buffers.append(Port(name, int(value)))
        return value

    def _size_names(self, name: str, axis: int, given: Tensor) -> tuple[str, str]:
        """How the size of an input's dimension is called, and how it is if another one has that name already.

        Sizes that the user has called the same are the same.
        """
        if chosen := self.free.get(name, {}).get(axis):
            return chosen, chosen
        usual = BATCH if axis == 0 else "sequence" if axis == 1 or given.dim() == 1 else "length"
        return usual, f"{name}_{axis}"

    def _call_or_note(self, node: Node) -> Argument:
        """What the node stands for; what the engine lacks is noted, to be told with all else that it lacks."""
        if any(isinstance(self.known[each], Lacking) for each in node.all_input_nodes):
            if node.target is not operator.getitem and not is_known(operator_name(node)):
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
        found, changed = [], []
        for each, spec in given:
            if spec.kind is OutputKind.USER_OUTPUT:
                found.append(map_arg(each, self.known.__getitem__))
            elif spec.kind is OutputKind.BUFFER_MUTATION:
                changed.append((next_of(self._states[spec.target]), map_arg(each, self.known.__getitem__)))
        if not any(is_value(each) or isinstance(each, Lacking) for each in found):
            raise ArgumentError("the model's output does not depend on its input: there is nothing to run")
        return tuple(
            Port(name, int(self.value(node, each)))
            for name, each in (*zip(self.traced.outputs, found, strict=True), *changed)
            if not isinstance(each, Lacking)
        )


def _number_type(node: Node, dtype: torch.dtype) -> str:
    """The program's name of the type of a node's numbers."""
    if (name := TYPES.get(str(dtype).removeprefix("torch."))) is not None:
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
