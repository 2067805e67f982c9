"""Times whole networks on the engine and on its rivals: ``python bench/whole_networks.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.inference.whole_networks import main  # noqa: E402

if __name__ == "__main__":
    main()
