"""The reference job: ``python main.py --dataset mnist --epochs 6``."""

import sys

from bench.job.command import main

if __name__ == "__main__":
    sys.exit(main())
