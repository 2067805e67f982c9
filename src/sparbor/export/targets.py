"""What ``sparbor export`` can make of a deployed model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sparbor.errors import OutputError
from sparbor.extras import brought_by

if TYPE_CHECKING:
    from sparbor.program.program import Program


def _to_c(program: Program, out: Path, name: str, force: bool) -> object:
    from sparbor.export.c.target import export_c

    return export_c(program, out, name, force)


def _to_onnx(program: Program, out: Path, name: str, force: bool) -> object:
    with brought_by("onnx", "to='onnx'"):
        from sparbor.export.onnx.target import export_onnx
    if os.path.lexists(out) and not force:
        raise OutputError(f"out={str(out)!r}: it is there already; pass --force to replace it, or name another file")
    export_onnx(program, out, name)
    return f"{out}: {out.stat().st_size:,} bytes"


# By target: takes the program, where to write, the model's name there and whether to force; what it returns is printed.
EXPORTERS: Mapping[str, Callable[[Program, Path, str, bool], object]] = {"c": _to_c, "onnx": _to_onnx}
