"""What serving such an encoder costs, beside its rivals: ``python bench/sentence_serving.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.sentences.serving import main  # noqa: E402

if __name__ == "__main__":
    main()
