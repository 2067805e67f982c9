"""What is known of an operator, whatever its family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sparbor.ops.targets import OnnxGraph, Writer
from sparbor.program.program import Operation, Settings

Has: TypeAlias = Literal["no", "maybe", "yes"]

# Appends what an operation of PyTorch's graph is to the engine: takes the graph, the node and the node's arguments, and
# returns what the node stands for.
Lowering: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Operator:
    """A kind of operation of the engine; the engine's own table says the same of its inputs, layer and settings.

    ``inputs`` is how many it has: a number, the fewest and the most, or ``None`` where any number from 1 will do.
    ``activation``: whether one may follow it, which then is
    part of it. ``to_onnx(graph, operation, y)`` appends the nodes that compute the value named ``y``, without the
    activation; ``to_c(writer, number, operation)`` the calls, likewise. A target whose writer is ``None`` lacks the
    operator, and says so. ``in_place_in_c``: its C code may write where it reads, because it computes each number, or
    each row, from that place alone.
    """

    kind: str
    to_onnx: Callable[[OnnxGraph, Operation, str], None] | None
    to_c: Callable[[Writer, int, Operation], None] | None
    inputs: int | tuple[int, int] | None = 1
    layer: Has = "no"
    activation: Has = "no"
    settings: type[Settings] | None = None
    in_place_in_c: bool = False
