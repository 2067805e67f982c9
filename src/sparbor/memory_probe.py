"""The fresh process in which memory is measured: ``python -m sparbor.memory_probe RUNTIME TASK MODEL_FILE``.

It imports what the runtime needs, then loads the model and runs one image, and prints how far memory rose.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

CLEAR_PEAK = "5"  # proc_pid_clear_refs(5): forget the peak of resident memory


def probe(load_and_run: Callable[[], object]) -> dict[str, int]:
    """Resident bytes that ``load_and_run`` adds at its peak, and the whole process at that peak."""
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before = _status_bytes("VmRSS")
    load_and_run()
    peak = _status_bytes("VmHWM")
    return {"growth_bytes": peak - before, "process_bytes": peak}


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def torch_runner(task: str, model_file: str) -> Callable[[], object]:
    """PyTorch, with all of its imports done."""
    import torch
    from safetensors.torch import load_model

    from sparbor.models import TASKS

    torch.set_num_threads(1)

    def load_and_run() -> object:
        model = TASKS[task].build()
        load_model(model, model_file)
        with torch.inference_mode():
            return model(torch.zeros(1, *TASKS[task].image_shape))

    return load_and_run


RUNNERS = {"torch": torch_runner}

if __name__ == "__main__":
    runtime, task, model_file = sys.argv[1:]
    print(json.dumps(probe(RUNNERS[runtime](task, model_file))))
