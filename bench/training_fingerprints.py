"""Records what training computes by the study's settings: ``python bench/training_fingerprints.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.study.fingerprints import main  # noqa: E402

if __name__ == "__main__":
    main()
