"""Programs for other machines: plain C, ONNX."""
