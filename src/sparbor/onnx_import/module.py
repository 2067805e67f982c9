"""An ONNX graph as a PyTorch module: a submodule for each node, run in order."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from sparbor.errors import ArgumentError, first_line
from sparbor.onnx_import.graph import Branches, constants_of, prepared
from sparbor.onnx_import.host import on_host
from sparbor.onnx_import.node import Array, Node, Value
from sparbor.onnx_import.recurrent import RECURRENT, recurrent_layer, run_recurrent
from sparbor.onnx_import.table import OPERATORS
from sparbor.onnx_import.values import as_tensor, narrowed

_FEW_FLOATS = 8  # constants of more are weights, of which layers are made
_FEW_INTEGERS = 4096  # constants of more are no shapes


class OnnxModule(nn.Module):
    """What an ONNX model computes, called with tensors by its inputs' names; it answers by its outputs' names.

    ``inputs`` are the names that a caller gives, by those in the file: these need not be identifiers.

    Raises:
        ArgumentError: the model has operators that cannot run on the engine; all of them are named.
    """

    def __init__(self, model: ModelProto, inputs: Mapping[str, str]) -> None:
        super().__init__()
        graph = prepared(model)
        self._inputs = dict(inputs)
        # torch.export looks up an input's name in the signature.
        vars(self)["forward"] = _with_signature(self._answers, inputs.values())
        self._outputs = graph.outputs
        self._constants = graph.constants
        self._weights: dict[int, nn.Parameter] = {}
        self._answers_of_branches: set[str] = set()
        self._steps = [self._step(each) for each in graph.nodes]
        wanted = self._answers_of_branches.union(self._outputs)
        self._constants = {name: narrowed(each) for name, each in graph.constants.items() if name in wanted}
        self._weights.clear()

    def _answers(self, **given: Tensor) -> dict[str, Tensor]:
        values: dict[str, Value] = {name: given[called] for name, called in self._inputs.items()}
        self._run(self._steps, values)
        return {name: self._answer(name, values) for name in self._outputs}

    def _answer(self, name: str, values: dict[str, Value]) -> Tensor:
        return as_tensor(values[name] if name in values else self._constants[name])

    def _step(self, node: Node | Branches) -> Any:
        if isinstance(node, Branches):
            self._answers_of_branches.update(name for _, names in node.ways for name in names)
            return node.node, [([self._step(each) for each in inner], names) for inner, names in node.ways]
        constants = constants_of(node, self._constants)
        if node.kind in RECURRENT:
            step: nn.Module = _Recurrent(node, constants)
        else:
            step = _Step(node, [self._held(each) for each in constants])
        _put(self, _path(node), step)
        return step

    def _held(self, constant: Array | None) -> Any:
        """A constant as nodes have it: numbers that shapes may be made of, or a weight."""
        if constant is None:
            return None
        array = narrowed(constant)
        if array.size <= (_FEW_FLOATS if array.dtype.kind == "f" else _FEW_INTEGERS) and (
            array.ndim <= 1 or array.dtype.kind == "i"
        ):
            return array
        if id(constant) not in self._weights:
            self._weights[id(constant)] = nn.Parameter(as_tensor(array), requires_grad=False)
        return self._weights[id(constant)]

    def _run(self, steps: Sequence[Any], values: dict[str, Value]) -> None:
        for step in steps:
            if isinstance(step, tuple):
                node, ways = step
                self._run_branch(node, ways, values)
                continue
            results = step(*(values.get(name) for name in step.node.inputs))
            results = results if isinstance(results, tuple) else (results,)
            values.update({name: each for name, each in zip(step.node.outputs, results, strict=False) if name})

    def _run_branch(self, node: Node, ways: Sequence[Any], values: dict[str, Value]) -> None:
        condition = values[node.inputs[0]]
        if isinstance(condition, Tensor):
            node.refuse("takes one of two branches by the numbers of an input")
        steps, names = ways[0 if bool(condition) else 1]
        self._run(steps, values)
        for inner, outer in zip(names, node.outputs, strict=True):
            values[outer] = values[inner] if inner in values else self._constants[inner]


def _with_signature(function: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    """The function, as if it were written with these names for its arguments."""

    def forward(*given: Any, **named: Any) -> Any:
        return function(**dict(zip(names, given, strict=False)), **named)

    arguments = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    vars(forward)["__signature__"] = inspect.Signature(arguments)
    return forward


class _Step(nn.Module):
    """One node, with the inputs of it that are always the same."""

    def __init__(self, node: Node, constants: Sequence[Any]) -> None:
        super().__init__()
        self.node = node
        self._known: dict[int, Array] = {}
        self._names: dict[int, str] = {}
        for place, constant in enumerate(constants):
            if isinstance(constant, np.ndarray):
                self._known[place] = constant
            elif constant is not None:
                self._names[place] = _NAMES.get((node.kind, place)) or f"constant_{place}"
                self.register_parameter(self._names[place], constant)

    def forward(self, *given: Value | None) -> Any:
        """The node's outputs."""
        inputs = [
            getattr(self, self._names[place]) if place in self._names else self._known.get(place, each)
            for place, each in enumerate(given)
        ]
        try:
            result = on_host(self.node, inputs)
            return OPERATORS[self.node.kind](self.node, *inputs) if result is None else result
        except (ArgumentError, GuardOnDataDependentSymNode):
            raise
        except Exception as error:
            self.node.refuse(f"fails: {first_line(error)}")


# What the constants of layers are called: as those of PyTorch's, by which their layers are found.
_NAMES = {
    **{(kind, 1): "weight" for kind in ("MatMul", "Gemm", "Conv", "ConvTranspose", "MatMulInteger", "ConvInteger")},
    **{(kind, 2): "bias" for kind in ("Gemm", "Conv", "ConvTranspose")},
    ("Gather", 0): "weight",
    ("MatMul", 0): "weight",
}


class _Recurrent(nn.Module):
    """A recurrent node, and the layer of PyTorch's that computes it."""

    def __init__(self, node: Node, constants: Sequence[Array | None]) -> None:
        super().__init__()
        self.node = node
        self.layer = recurrent_layer(node, constants)
        self._starts = [None if each is None else narrowed(each) for each in constants]

    def forward(self, *given: Value | None) -> Any:
        """The node's outputs."""
        inputs = [each if known is None else known for each, known in zip(given, self._starts, strict=True)]
        return run_recurrent(self.node, self.layer, inputs)


_LAYERS = (*RECURRENT, "MatMul", "Gemm", "Conv", "ConvTranspose", "Gather", "MatMulInteger", "ConvInteger")


def _path(node: Node) -> str:
    """Where a node stands among the modules: a layer at its weight's place, others by their own names."""
    of_table = node.kind != "Gather" or node.constant[0]
    is_layer = node.kind in _LAYERS and any(node.constant) and of_table
    if is_layer and node.module:
        return node.module
    for name, constant in zip(node.inputs, node.constant, strict=True):
        if is_layer and constant and name.endswith(".weight"):
            return name.removesuffix(".weight")
    *parents, last = node.name.strip("/").replace("/", ".").split(".")
    return ".".join(parents if parents and is_layer and last == node.kind else [*parents, last])


def _put(root: nn.Module, path: str, step: nn.Module) -> None:
    """Make the step a submodule at the path, or beside it if that is taken."""
    *parents, last = [re.sub(r"\W+", "_", part) for part in path.split(".") if part] or ["node"]
    for name in parents:
        name = _free(root, name) if not isinstance(getattr(root, name, None), nn.Module) else name
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    there = getattr(root, last, None)
    if type(there) is nn.Module and not any(hasattr(step, name) for name, _ in there.named_children()):
        for name, child in there.named_children():  # nodes of the same module, which stood before
            step.add_module(name, child)
        setattr(root, last, step)
    else:
        root.add_module(_free(root, last), step)


def _free(module: nn.Module, name: str) -> str:
    """The name, or a longer one if the module has such an attribute."""
    if not hasattr(module, name):
        return name
    number = 2
    while hasattr(module, f"{name}_{number}"):
        number += 1
    return f"{name}_{number}"
