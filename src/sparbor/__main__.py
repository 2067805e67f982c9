"""``python -m sparbor`` is the command ``sparbor``."""

import sys

from sparbor.cli import main

if __name__ == "__main__":
    sys.exit(main())
