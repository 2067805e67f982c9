"""The fresh process in which memory is measured.

``python -m sparbor.benchmark.memory_probe RUNTIME TASK MODEL_FILE SHAPE`` imports what the runtime needs, then loads
the model and runs one image, and prints how far memory rose.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sparbor.benchmark.runtimes import CONTESTANTS

CLEAR_PEAK = "5"  # proc_pid_clear_refs(5): forget the peak of resident memory


def probe(load_and_run: Callable[[], object]) -> dict[str, int]:
    """Resident bytes that ``load_and_run`` adds at its peak, those of code among them, and the process at that peak.

    Code is what is mapped from files: the parts of libraries that were not used before. Such pages stay.
    """
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before, code_before = status_bytes("VmRSS"), status_bytes("RssFile")
    load_and_run()
    peak, code = status_bytes("VmHWM"), status_bytes("RssFile")
    # The kernel counts pages in batches: what is next to nothing may come out below it.
    return {
        "growth_bytes": max(0, peak - before),
        "code_bytes": max(0, code - code_before),
        "process_bytes": peak,
    }


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    runtime, task, model_file, shape = sys.argv[1:]
    prepare = CONTESTANTS[runtime].imports()
    image = np.zeros([int(extent) for extent in shape.split("x")], np.float32)
    print(json.dumps(probe(lambda: prepare(Path(model_file), task, image)())))
