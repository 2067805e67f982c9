"""The operators, a file for each family: what PyTorch calls them, what they are to the engine, to ONNX and to C."""
