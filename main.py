"""The reference job: ``python main.py --dataset mnist --epochs 6``."""

import sys

from sparbor.cli import benchmark_main

if __name__ == "__main__":
    sys.exit(benchmark_main())
