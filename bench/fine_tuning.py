"""From a trained dense network to a sparse one in an epoch: ``python bench/fine_tuning.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.study.fine_tuning import main  # noqa: E402

if __name__ == "__main__":
    main()
