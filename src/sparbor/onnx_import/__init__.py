"""ONNX files from anywhere on our engine: a graph becomes a PyTorch module, and that is deployed as any other."""

from sparbor.extras import brought_by

with brought_by("onnx", "sparbor.from_onnx"):
    import onnx  # noqa: F401
