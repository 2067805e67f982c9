"""What operators ask of those whom they write to: a program under construction, an ONNX graph, a C file.

Who these are lies above the operators: :mod:`sparbor.lower.graph`, :mod:`sparbor.export.onnx.graph` and
:mod:`sparbor.export.c.writer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from sparbor.ops.arguments import Argument, Constant, Value
from sparbor.program.program import Activation, Operation, Program, Settings
from sparbor.program.windows import AverageWindow, Shape, Window

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Node


class Graph(Protocol):
    """A program under construction, of PyTorch's graph."""

    shapes: list[Shape]
    weights: dict[str, Any]

    def value(self, node: Node, argument: Argument) -> Value:
        """The argument, if it is a value."""

    def result_shape(self, node: Node) -> Shape:
        """The shape of one item of the node's result, or of its first result."""

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

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """The value in another shape."""

    def in_rows(self, value: Value, dimensions: int = 1) -> Value:
        """The value as rows of what its last dimensions hold."""

    def made_by(self, value: Value) -> str:
        """The kind of operation that computes the value."""

    def layer_weights(self, name: str, weight: Constant, matrix: Callable[[Tensor], Tensor], bias: Argument) -> None:
        """Keep a layer's weight and mask as the matrix that `matrix` makes of them."""

    def convolution_weights(self, name: str, weight: Constant, bias: Argument, groups: int, transposed: bool) -> None:
        """The same of a convolution's."""

    def tensor(self, argument: Argument) -> Tensor:
        """A constant, or a number, in double precision."""

    def layer_name(self, node: Node, weight: Argument = None) -> str:
        """The module's path, or that of the weight; each name is used once."""

    def unique(self, wanted: str) -> str:
        """The name, numbered if another layer has it."""


class OnnxGraph(Protocol):
    """An ONNX graph under construction."""

    program: Program

    def name_of(self, value: int) -> str:
        """What a value of the program is called."""

    def node(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node with one output, whose name is returned."""

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """The name of this constant."""

    def scalar(self, name: str, number: float) -> str:
        """The name of a constant that is one float32."""

    def integers(self, name: str, numbers: Sequence[int]) -> str:
        """The name of a constant list of whole numbers."""


class Writer(Protocol):
    """C code under construction."""

    program: Program

    def call(self, function: str, *arguments: str | int) -> None:
        """Call a function of `parts/`."""

    def copy(self, source: str, target: str, count: int) -> None:
        """Copy so many numbers."""

    def place(self, value: int) -> str:
        """The C expression of where a value lies."""

    def x_shape(self, operation: Operation) -> Shape:
        """Of the operation's first input."""

    def y_shape(self, operation: Operation) -> Shape:
        """Of its output."""

    def x_and_y(self, operation: Operation) -> tuple[str, str]:
        """Where its first input and its output lie."""

    def number(self, value: float) -> str:
        """A number as C writes it."""

    def pairs(self, left_shape: Shape, right_shape: Shape, left: str, operator: str, right: str, y: str) -> None:
        """``y = left operator right``, number by number; a dimension of 1 is as if repeated."""

    def weights(self, name: str) -> tuple[str, str]:
        """The kind of a layer's weights, such as `sparse_words`, and a pointer to them."""

    def scale_and_shift(self, name: str) -> tuple[str, str]:
        """The names of a layer's scale and shift."""

    def window(self, number: int, operation: Operation, window: Window) -> str:
        """A pointer to the constants of a convolution or a pool."""

    def planes(self, number: int, operation: Operation) -> str:
        """A pointer to the sizes of an operation's planes."""

    def counted_places(self, number: int, operation: Operation, window: AverageWindow) -> list[str]:
        """Pointers to which places under an average pool's window count, down and across."""
