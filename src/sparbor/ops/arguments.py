"""What the arguments of a node of PyTorch's graph are to the operators that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.packing.slots import Floats

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Node


class Value(int):
    """The number of a value of the program, to tell it from an integer argument."""


@dataclass(frozen=True)
class Constant:
    """A tensor that does not depend on the input: what it is called, and the mask that it was multiplied by."""

    tensor: Tensor
    name: str
    mask: Tensor | None = None


@dataclass(frozen=True)
class Size:
    """A number that depends on the sizes of the inputs: PyTorch's own symbol for it."""

    symbol: Any

    @property
    def is_negative(self) -> bool:
        """Whether it is minus a size, as an index from the end is."""
        return all(term.as_coeff_Mul()[0] < 0 for term in self.symbol.node.expr.as_ordered_terms())


class Lacking:
    """What an operator would compute that the engine does not have; that has been noted."""


@dataclass(frozen=True)
class Padded:
    """A value with zeros around it, in PyTorch's order: before and after along the last dimension, then the others."""

    value: Value
    sides: tuple[int, ...]


@dataclass(frozen=True)
class Complex:
    """Complex numbers: arguments for their real and for their imaginary parts, of one shape."""

    real: Argument
    imaginary: Argument


# What each argument of an operation is: one of the above, or a plain Python object.
Argument: TypeAlias = Any

WAY_OUT = (
    "Keep that part in PyTorch and deploy the rest, or replace it by what the engine has: docs/deploy.md lists its "
    "operators"
)


def is_value(argument: Argument) -> bool:
    """Whether it depends on the input's numbers, or is a tensor whose shape depends on its sizes."""
    return isinstance(argument, (Value, Padded, Complex))


def is_number(argument: Argument) -> bool:
    """Whether it is a plain number, which a value's number is not."""
    return isinstance(argument, (bool, int, float)) and not isinstance(argument, Value)


def as_numpy(tensor: Tensor) -> Floats:
    """The tensor's numbers as float32."""
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())


def refuse(node: Node, fault: str) -> NoReturn:
    """Raise that the engine does not run the node for this fault, and what can be done."""
    raise ArgumentError(f"{where(node)} {fault}. {WAY_OUT}")


def operator_name(node: Node) -> str:
    """The operator that the node calls, as the tables of operators name it."""
    return overload_name(node.target)


def overload_name(operator: Any) -> str:
    """PyTorch's operator, as the tables of operators name it."""
    return str(operator).removeprefix("aten.")


def where(node: Node) -> str:
    """The node, behind the path of the module that it comes from."""
    path = module_path(node)
    return f"{path} ({node.name})" if path else node.name


def module_path(node: Node) -> str:
    """The innermost module that the node comes from; empty for the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]) if paths else ""
