"""Makes a pre-trained sentence encoder sparse in one shot: ``python bench/oneshot.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.sentences.oneshot import main  # noqa: E402

if __name__ == "__main__":
    main()
