"""A program as a standard ONNX file."""
