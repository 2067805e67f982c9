"""ONNX files from anywhere on our engine: a graph becomes a PyTorch module, and that is deployed as any other."""
