"""Measurements measure."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sparbor
from bench import CHECKOUT
from bench.job import measure
from bench.job.measure import take_turns
from bench.job.models import TASKS, mnist_mlp
from sparbor import PAINeuronModule
from sparbor.errors import SparborError
from sparbor.timing import Latency

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_latencies_tell_a_slow_call_from_a_fast_one() -> None:
    figures = measure.latencies({"slow": lambda: time.sleep(0.002), "fast": lambda: None}, rounds=3, calls_a_round=5)
    assert 2000 <= figures["slow"].median_us <= figures["slow"].p95_us
    assert figures["fast"].median_us < 1000


def test_calls_at_the_start_of_a_turn_are_not_counted() -> None:
    asked = []

    def sampler(times: int) -> list[float]:
        asked.append(times)
        return [1000.0] * 2 + [1.0] * (times - 2)

    figures = take_turns({"one": sampler}, rounds=3, calls={"one": 4}, untimed=2, pause=0.001)
    assert asked == [6, 6, 6]
    assert figures["one"] == Latency(median_us=1.0, p95_us=1.0)


MEGABYTES_GONE_AGAIN = """
import json
import numpy as np
from bench.job.memory_probe import probe
print(json.dumps(probe(lambda: np.ones({megabytes} * 1_000_000, dtype=np.uint8).sum())))
"""


@needs_linux
def test_probe_sees_a_peak_that_is_gone_again() -> None:
    # In a fresh process: this one may have such memory at hand. The kernel counts resident pages in batches for each
    # thread, hence the hundredth.
    megabytes = 64
    command = [sys.executable, "-c", MEGABYTES_GONE_AGAIN.format(megabytes=megabytes)]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=CHECKOUT).stdout)
    assert 0.99 * megabytes * 1e6 <= figures["growth_bytes"] < 1.5 * megabytes * 1e6
    assert figures["process_bytes"] > figures["growth_bytes"]
    assert figures["code_bytes"] < 1e6


@needs_linux
def test_memory_of_a_model_in_a_fresh_process(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(mnist_mlp().state_dict(), file)
    figures = measure.memory("torch", "mnist", file, (1, 28, 28))
    assert figures is not None
    assert 4 * 269_322 < figures.growth_bytes < figures.process_bytes
    assert 0 < figures.code_bytes < figures.growth_bytes


LOADED_FOR_IT = """
import sys
from bench.job.memory_probe import CONTESTANTS
import numpy as np
from pathlib import Path
prepare = CONTESTANTS["sparbor"].imports()
before = set(sys.modules)
prepare(Path(sys.argv[1]), "mnist", np.zeros((1, 28, 28), np.float32))()
print(sorted(set(sys.modules) - before))
"""


READ_AT_ONCE = 2**16  # what Linux reads of code around a page that is touched: less is no difference of the models


@needs_linux
def test_on_the_engine_a_sparse_model_takes_less_memory_than_a_dense_one(tmp_path: Path) -> None:
    """As little as its file, beside code that a process reads in once; code, too, is memory that a user pays for."""
    model, files = mnist_mlp(), {"dense": tmp_path / "dense", "sparse": tmp_path / "sparse"}
    byte_input = TASKS["mnist"].byte_input
    sparbor.deploy(model, torch.zeros(1, 28, 28), byte_input=byte_input).save(files["dense"])
    sparse = nn.Sequential(
        *(
            PAINeuronModule(layer, name, sparsity=0.9) if isinstance(layer, nn.Linear) else layer
            for name, layer in model.named_children()
        )
    )
    for layer in sparse.children():
        if isinstance(layer, PAINeuronModule):
            layer.set_mode("d")
    sparbor.deploy(sparse, torch.zeros(1, 28, 28), byte_input=byte_input).save(files["sparse"])
    figures = {name: measure.memory("sparbor", "mnist", file, (1, 28, 28)) for name, file in files.items()}
    dense, sparse_figures = figures["dense"], figures["sparse"]
    assert dense is not None
    assert sparse_figures is not None
    assert sparse_figures.growth_bytes < dense.growth_bytes + READ_AT_ONCE
    assert sparse_figures.growth_bytes - sparse_figures.code_bytes < 0.5 * (dense.growth_bytes - dense.code_bytes)
    for file in files.values():
        command = [sys.executable, "-c", LOADED_FOR_IT, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
        assert done.stdout == "[]\n", done.stderr


@needs_linux
def test_memory_probe_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(
        SparborError, match=r"memory could not be measured: .*bench.job.memory_probe torch mnist.*ended with"
    ):
        measure.memory("torch", "mnist", tmp_path / "absent.safetensors", (1, 28, 28))


def test_parameter_counts_are_counted() -> None:
    layer = PAINeuronModule(nn.Linear(4, 2), "one")
    model = nn.Sequential(layer, nn.Linear(2, 2))
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[0, 1] = mask[1, 2] = mask[1, 3] = True
    layer.set_mask(mask)
    with torch.no_grad():
        layer.weight[1, 2] = 0
    counts = measure.parameter_counts(model)
    assert counts["total_parameters"] == 8 + 2 + 4 + 2
    assert counts["active_parameters"] == 3 + 2 + 4 + 2
    assert counts["active_zeros"] == 1
    assert counts["sparsity"] == 1 - 3 / 8
    assert counts["weight_bytes"] == 4 * 16
    assert counts["layers"] == [
        {"name": "one", "shape": [2, 4], "weights": 8, "active_weights": 3, "active_zeros": 1, "sparsity": 1 - 3 / 8}
    ]
