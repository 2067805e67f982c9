"""Runs one runtime on many threads, a million times: ``python bench/soak.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.inference.soak import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
