"""Trains and deploys the networks that the world uses: ``python bench/networks.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.network_checks.command import main  # noqa: E402

if __name__ == "__main__":
    main()
