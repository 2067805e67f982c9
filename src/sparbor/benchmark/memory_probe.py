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
    """Resident bytes that ``load_and_run`` adds at its peak, and the whole process at that peak."""
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before = status_bytes("VmRSS")
    load_and_run()
    peak = status_bytes("VmHWM")
    return {"growth_bytes": peak - before, "process_bytes": peak}


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
