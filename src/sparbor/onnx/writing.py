"""An ONNX model into a file, at once or not at all; weights beyond what one file holds lie beside it."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from sparbor.errors import OutputError
from sparbor.files import write_file

MOST_BYTES = 2**31 - 2**20  # of one file, which protobuf reads into memory at once


def write(model: ModelProto, out: Path) -> None:
    """Write the model; if it is too large for one file, its weights as OUT.data first."""
    if model.ByteSize() <= MOST_BYTES:
        write_file(out, model.SerializeToString())
        return
    beside = out.with_name(f"{out.name}.data")
    beside.unlink(missing_ok=True)  # onnx appends
    try:
        onnx.save_model(model, out, save_as_external_data=True, location=beside.name, size_threshold=1024)
    except OSError as error:
        raise OutputError(f"could not write {out}: {error}") from error
