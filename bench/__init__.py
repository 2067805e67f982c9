"""What measures Sparbor, and what it measured: run from a checkout, and no part of the package that is installed.

The scripts that lie here are what users run, ``python bench/latency.py``; the folders hold what they do.
"""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = CHECKOUT / "bench" / "results"
