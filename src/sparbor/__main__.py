"""``python -m sparbor`` is the command ``sparbor``."""

import sys

from sparbor.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
