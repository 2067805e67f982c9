"""ONNX files whose sparse layers stay sparse in ONNX Runtime: `docs/onnx-pack.md`."""

from importlib import import_module
from typing import Any

from sparbor.extras import brought_by

__all__ = ["Packed", "pack"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sparbor.onnx' has no attribute {name!r}")
    with brought_by("onnx", f"sparbor.onnx.{name}"):
        return getattr(import_module("sparbor.onnx.packing"), name)
