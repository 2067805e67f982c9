"""ONNX files of many networks and exporters, packed and on the engine: ``python bench/onnx_files.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.onnx_checks.command import main  # noqa: E402

if __name__ == "__main__":
    main()
