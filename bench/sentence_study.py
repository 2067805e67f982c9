"""A pre-trained sentence encoder made sparse by fine-tuning: ``python bench/sentence_study.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.sentences.study import main  # noqa: E402

if __name__ == "__main__":
    main()
