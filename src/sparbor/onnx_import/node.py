"""A node of an ONNX graph, as its operator sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from sparbor.errors import ArgumentError

Array: TypeAlias = npt.NDArray[Any]
Value: TypeAlias = Tensor | Array  # a tensor, or a host value: see `sparbor.onnx_import.values`

WAY_OUT = "keep this model in ONNX Runtime, where `sparbor onnx pack` makes its sparse layers fast"


@dataclass(frozen=True)
class Node:
    """What a node is: ``kind`` is its operator, behind its domain if that is not ONNX's own.

    ``opset`` is the version of the operator set of that domain. ``wanted`` says which of its outputs are used,
    ``constant`` which of its inputs are always the same. ``module`` is the path of the PyTorch module that it comes
    from, where the exporter says so.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    wanted: tuple[bool, ...] = (True,)
    constant: tuple[bool, ...] = ()
    module: str = ""

    def get(self, name: str, otherwise: Any = None) -> Any:
        """An attribute; text as str."""
        value = self.attributes.get(name, otherwise)
        return value.decode() if isinstance(value, bytes) else value

    def refuse(self, fault: str) -> NoReturn:
        """Raise that this node cannot run, for this fault."""
        raise ArgumentError(f"node {self.name!r} ({self.kind}) {fault}: {WAY_OUT}")

    def only(self, outputs: int) -> None:
        """Refuse a node of which more than the first outputs are used."""
        if any(self.wanted[outputs:]):
            self.refuse(f"has an output {self.outputs[outputs:]} that the engine does not compute")


# What an operator makes of a node and of its inputs, in order, ``None`` where one is left out.
Operator: TypeAlias = Callable[..., "Value | tuple[Value | None, ...]"]


def kind_of(node: NodeProto) -> str:
    """The operator's name, behind its domain if that is not ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def node_of(proto: NodeProto, opsets: Mapping[str, int]) -> Node:
    """The node that a file has."""
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    return Node(
        kind_of(proto),
        proto.name or next(name for name in proto.output if name),
        tuple(proto.input),
        tuple(proto.output),
        opsets.get(domain, 1),
        {each.name: _attribute(each) for each in proto.attribute},
        module=_module_of(proto),
    )


def _module_of(proto: NodeProto) -> str:
    """By a list of paths, the last of them the operator's, that PyTorch's exporter notes as text."""
    for note in proto.metadata_props:
        if note.key == "pkg.torch.onnx.name_scopes":
            paths = re.findall(r"'([^']*)'", note.value)
            return paths[-2] if len(paths) > 1 else ""
    return ""


def _attribute(proto: AttributeProto) -> Any:
    """A tensor as an array."""
    value = helper.get_attribute_value(proto)
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def listed(values: Any) -> list[Any]:
    """An attribute of several numbers as a list."""
    return list(np.asarray(values).ravel().tolist()) if not isinstance(values, (list, tuple)) else list(values)
