"""An ONNX model as it is given: read, checked, its functions written out."""

from __future__ import annotations

import os

import onnx
import onnx.inliner
from onnx import ModelProto

from sparbor.errors import ArgumentError, first_line
from sparbor.export.onnx.own_nodes import DOMAIN

OLDEST_OPSET = 7  # the first in which what is added to a product is broadcast as in NumPy


def read(model: ModelProto | str | os.PathLike[str]) -> ModelProto:
    """The model, with weights that lie in other files, and with the nodes of its functions in their place.

    Raises:
        ArgumentError: it is no ONNX model, of an operator set that is not known, or has nodes of ours already.
    """
    loaded = model if isinstance(model, ModelProto) else _from_file(model)
    if not loaded.graph.node:
        raise ArgumentError(f"{_named(model)} has no nodes: pass an ONNX model")
    newest = onnx.defs.onnx_opset_version()
    opset = next((each.version for each in loaded.opset_import if each.domain in ("", "ai.onnx")), 0)
    if not OLDEST_OPSET <= opset <= newest:
        raise ArgumentError(
            f"{_named(model)} has operator set {opset}, and {OLDEST_OPSET} to {newest} are known: convert it with"
            " onnx.version_converter, or upgrade onnx"
        )
    if any(each.domain == DOMAIN for each in loaded.opset_import):
        raise ArgumentError(f"{_named(model)} is packed already, for ONNX Runtime: pass the original")
    if loaded.functions:
        loaded = onnx.inliner.inline_local_functions(loaded)
    return loaded


def _from_file(path: str | os.PathLike[str]) -> ModelProto:
    if not os.path.isfile(path):
        raise ArgumentError(f"{os.fspath(path)!r} is no file: name an ONNX model")
    try:
        return onnx.load(path)
    except Exception as error:  # of protobuf, or of files beside it that have the weights
        raise ArgumentError(
            f"{os.fspath(path)!r} cannot be read as an ONNX model ({first_line(error)}): export the model again"
        ) from error


def _named(model: ModelProto | str | os.PathLike[str]) -> str:
    return "the model" if isinstance(model, ModelProto) else repr(os.fspath(model))
