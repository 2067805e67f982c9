"""Compares exported C code with the engine: ``python bench/c_export.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.inference.c_export import main  # noqa: E402

if __name__ == "__main__":
    main()
