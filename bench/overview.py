"""Makes docs/results.md and README's table and picture of committed rows: ``python bench/overview.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.results_page.page import main  # noqa: E402

if __name__ == "__main__":
    main()
