"""ONNX files whose sparse layers stay sparse in ONNX Runtime: `docs/onnx.md`."""

from sparbor.extras import brought_by

with brought_by("onnx", "sparbor.onnx"):
    from sparbor.onnx.pack import Packed as Packed
    from sparbor.onnx.pack import pack as pack
