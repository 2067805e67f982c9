"""Packed ONNX models in ONNX Runtime, beside the originals there: ``python bench/onnx_pack.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.inference.onnx_pack import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
