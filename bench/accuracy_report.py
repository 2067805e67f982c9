"""Makes docs/study.md and docs/study/ of the accuracy study's rows: ``python bench/accuracy_report.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.study.report import main  # noqa: E402

if __name__ == "__main__":
    main()
