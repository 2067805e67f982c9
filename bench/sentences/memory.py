"""The fresh process in which memory is measured: what a runtime takes to load a sentence model and answer one text.

``python -m bench.sentences.memory RUNTIME FILE TOKENS`` prints it.
"""

import json
import sys
from pathlib import Path

import numpy as np

from bench.job.memory_probe import probe
from bench.sentences.runtimes import RUNTIMES

if __name__ == "__main__":
    runtime, file, tokens = sys.argv[1:]
    load = RUNTIMES[runtime].imports()
    ids = np.ones((1, int(tokens)), np.int64)
    print(json.dumps(probe(lambda: load(Path(file))(ids, ids))))
