"""Memory of a model in a fresh process, on the engine and in PyTorch: growth from after the imports to the peak.

``python -m bench.inference.memory RUNTIME MODEL FILE INPUTS`` is that process. Both load a file of their own and run
one item; PyTorch takes the file's tensors as they are, without a second copy.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.job.memory_probe import probe


def measure(model: str, sparsity: float) -> list[dict[str, Any]]:
    """A row for each runtime, none where the system cannot tell."""
    from safetensors.torch import save_file

    import sparbor
    from bench.inference import models
    from bench.job.measure import memory_of
    from bench.peers import arguments

    network = models.dendritic(model, sparsity, "varying")
    example = models.example(model, 1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = {"sparbor": Path(folder) / "deployed.safetensors", "torch-eager": Path(folder) / "dense.safetensors"}
        sparbor.deploy(network, example).save(files["sparbor"])
        save_file(models.plain(network).state_dict(), files["torch-eager"])
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, *(each.numpy() for each in arguments(example)))
        for runtime, file in files.items():
            found = memory_of("bench.inference.memory", runtime, model, str(file), str(inputs))
            if found:
                rows.append({"model": model, "sparsity": sparsity, "runtime": runtime, **asdict(found)})
    return rows


def engine_runner(model: str, file: str, inputs: str) -> Callable[[], object]:
    """The engine, which needs no torch."""
    from sparbor.engine import runtime

    given = _arrays(inputs)
    return lambda: runtime.load(file)(*given)


def torch_runner(model: str, file: str, inputs: str) -> Callable[[], object]:
    """PyTorch, with all of its imports done."""
    import torch
    from safetensors.torch import load_file

    from bench.inference import models

    torch.set_num_threads(1)
    given = [torch.from_numpy(each) for each in _arrays(inputs)]

    def load_and_run() -> object:
        with torch.device("meta"):
            network = models.dense(model).eval()
        network.load_state_dict(load_file(file), assign=True)
        with torch.inference_mode():
            return network(*given)

    return load_and_run


def _arrays(inputs: str) -> list[Any]:
    with np.load(inputs) as kept:
        return list(kept.values())


RUNNERS = {"sparbor": engine_runner, "torch-eager": torch_runner}

if __name__ == "__main__":
    runtime, model, file, inputs = sys.argv[1:]
    print(json.dumps(probe(RUNNERS[runtime](model, file, inputs))))
