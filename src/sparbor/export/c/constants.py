"""NumPy arrays as constant arrays of C, and how many bytes they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_TYPES = {name: f"{name}_t" for name in ("int8", "uint8", "uint16", "int32", "uint32", "int64")} | {"float32": "float"}
_POINTER_BYTES = 4  # of the boards this is for
_LINE = 118


def literal(value: float) -> str:
    """A number as C writes the float32 that it rounds to, to the last bit.

    >>> literal(0.5), literal(3.0), literal(float("inf"))
    ('0.5f', '3.0f', 'INFINITY')
    """
    with np.errstate(over="ignore"):
        return _exact(float(np.float32(value)))


def _exact(value: float) -> str:
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    digits = format(value, ".9g")  # nine tell every float32 from its neighbours
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


class Constants:
    """The constants of a C file; `bytes` is what they take on a target with 32-bit pointers."""

    def __init__(self) -> None:
        self.definitions: list[str] = []
        self.bytes = 0

    def array(self, name: str, values: npt.NDArray[Any]) -> str:
        """Define an array; returns its name. An empty one gets one zero: C has no empty arrays."""
        flat = values.reshape(-1) if values.size else np.zeros(1, values.dtype)
        items = list(map(_exact if flat.dtype == np.float32 else str, flat.tolist()))
        kind = _TYPES[flat.dtype.name]
        self.definitions.append(f"static const {kind} {name}[{len(items)}] = {{\n{_lines(items)}\n}};\n")
        self.bytes += flat.nbytes
        return name

    def structure(self, kind: str, name: str, fields: Sequence[str | int]) -> str:
        """Define a structure of pointers and sizes; returns a pointer to it."""
        self.definitions.append(f"static const struct {kind} {name} = {{\n{_lines(list(map(str, fields)))}\n}};\n")
        self.bytes += _POINTER_BYTES * len(fields)
        return f"&{name}"

    def spans(self, name: str, spans: Sequence[Sequence[int]]) -> str:
        """Define an array of spans; returns its name."""
        items = ["{" + ", ".join(map(str, span)) + "}" for span in spans]
        self.definitions.append(f"static const struct span {name}[{len(items)}] = {{\n{_lines(items)}\n}};\n")
        self.bytes += sum(4 * len(span) for span in spans)
        return name


def _lines(items: Sequence[str]) -> str:
    """The items with commas between them, in lines that are not too long."""
    lines: list[str] = []
    line: list[str] = []
    length = 4
    for item in items:
        if line and length + len(item) + 2 > _LINE:
            lines.append("    " + ", ".join(line))
            line, length = [], 4
        line.append(item)
        length += len(item) + 2
    lines.append("    " + ", ".join(line))
    return ",\n".join(lines)
