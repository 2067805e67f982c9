"""Trains ResNet-20 for 20 epochs, on a processor: ``python bench/resnet20.py --help``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the checkout: of it `bench` can be imported

from bench.study.resnet_plans import RESNET20  # noqa: E402
from bench.study.resnets import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(RESNET20))
