"""The fresh process in which memory is measured.

``python -m bench.job.memory_probe RUNTIME TASK MODEL_FILE SHAPE`` imports what the runtime needs, then loads
the model and runs one image, and prints how far memory rose.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.job.runtimes import CONTESTANTS

CLEAR_PEAK = "5"  # proc_pid_clear_refs(5): forget the peak of resident memory
RESIDENT = {"Rss:": 1, "Anonymous:": -1}  # proc_pid_smaps(5): what was written to is the process's own


def probe(load_and_run: Callable[[], object]) -> dict[str, int]:
    """Resident bytes that ``load_and_run`` adds at its peak, those of code among them, and the process at that peak."""
    code_before = code_bytes()
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before = status_bytes("VmRSS")
    load_and_run()
    peak = status_bytes("VmHWM")
    code = code_bytes() - code_before  # it stays when it was used
    # The kernel counts pages in batches: what is next to nothing may come out below it.
    return {"growth_bytes": max(0, peak - before), "code_bytes": max(0, code), "process_bytes": peak}


def code_bytes() -> int:
    """Resident bytes of programs and libraries, the files that are mapped to be executed: code and constants."""
    resident: Counter[str] = Counter()
    executed, path = set(), ""
    with open("/proc/self/smaps") as mappings:  # line by line: what is read at once is free memory afterwards
        for line in mappings:
            first, *others = line.split(maxsplit=5)
            if first in RESIDENT:
                resident[path] += RESIDENT[first] * int(others[0]) * 1024
            elif not first.endswith(":"):
                path = others[4] if len(others) > 4 else ""
                if "x" in others[0] and path:
                    executed.add(path)
    return sum(resident[path] for path in executed)


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
