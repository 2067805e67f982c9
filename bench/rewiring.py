"""Times changes of topology in large networks: ``python bench/rewiring.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.training_cost.rewiring import main  # noqa: E402

if __name__ == "__main__":
    main()
