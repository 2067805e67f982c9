"""The fresh process in which memory is measured: what a session of ONNX Runtime takes to load a model and run it once.

``python -m bench.inference.onnx_memory FILE INPUTS`` prints it; a packed model has our operators.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401  # its memory is not the model's

from bench.inference.onnx_pack import opened
from bench.job.memory_probe import probe

if __name__ == "__main__":
    file, inputs = sys.argv[1:]
    given = dict(np.load(inputs))
    print(json.dumps(probe(lambda: opened(Path(file), packed="packed" in file).run(None, given))))
