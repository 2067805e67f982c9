"""The command line, ``sparbor`` or ``python -m sparbor``: a file for each command, and what they share.

``inspect``, ``report``, ``run`` and ``time`` need what the engine needs, NumPy and safetensors, and nothing else;
``export`` needs no engine, and to ONNX the package onnx, as ``onnx pack`` does. ``deploy`` needs PyTorch, and onnx for
an ONNX model.
"""

from sparbor.cli.ending import end_cleanly
from sparbor.cli.parser import Parser
from sparbor.cli.program import main

__all__ = ["Parser", "end_cleanly", "main"]
