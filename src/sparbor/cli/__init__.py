"""The command line, ``sparbor`` or ``python -m sparbor``: a file for each command, and what they share.

``inspect``, ``report``, ``run`` and ``time`` need what the engine needs, NumPy and safetensors, and nothing else;
``export`` needs no engine, and to ONNX the package onnx, as ``onnx pack`` does. ``sparsify`` and ``deploy`` need
PyTorch, the latter onnx too for an ONNX model, and both transformers for a directory.
"""
