"""What ``sparbor export`` can make of a deployed model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sparbor import native
from sparbor.errors import ArgumentError, ModelFileError, SparborError
from sparbor.extras import brought_by
from sparbor.files import check_free

if TYPE_CHECKING:
    from sparbor.program.program import Program


@contextmanager
def _faults_of_the_file() -> Iterator[None]:
    """Within, what cannot be written of a file that no engine has checked is the file's fault, and no crash."""
    try:
        yield
    except (SparborError, MemoryError):
        raise
    except Exception as error:  # shapes and arrays that contradict each other, which NumPy and ONNX say in many ways
        if native.built:
            raise
        raise ModelFileError(
            f"the file contradicts itself ({type(error).__name__}: {str(error).partition(chr(10))[0][:100]}); it is"
            " damaged: build the engine, which says where, or write the file again"
        ) from error


def _to_c(program: Program, out: Path, name: str, force: bool, sparse: bool) -> object:
    if sparse:
        raise ArgumentError("sparse is for to='onnx': plain C is sparse as it is, leave --sparse out")
    from sparbor.export.c.target import export_c

    with _faults_of_the_file():
        return export_c(program, out, name, force)


def _to_onnx(program: Program, out: Path, name: str, force: bool, sparse: bool) -> object:
    with brought_by("onnx", "to='onnx'"):
        from sparbor.export.onnx.target import export_onnx
    check_free(out, force)
    with _faults_of_the_file():
        export_onnx(program, out, name, sparse)
    return f"{out}: {out.stat().st_size:,} bytes"


# By target: takes the program, where to write, the model's name there, whether to force, and whether sparse layers are
# to stay sparse by operators that the target has not by itself; what it returns is printed.
EXPORTERS: Mapping[str, Callable[[Program, Path, str, bool, bool], object]] = {"c": _to_c, "onnx": _to_onnx}
