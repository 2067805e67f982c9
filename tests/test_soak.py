"""Eight threads share one runtime, and each gets to the last bit what a single thread gets."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime
from sparbor.program.program import Program
from tests.conftest import BENCH
from tests.layers import mlp
from tests.test_program import planes_program

THREADS, CALLS = 8, 500  # a thread

PROGRAMS: dict[str, Callable[[], Program]] = {
    "small": lambda: mlp([300, 64, 10]),
    "wide": lambda: mlp([300, 2000, 50], density=0.3),  # enough work for the engine to share it among its threads
    "planes": planes_program,
}


def inputs(program: Program, seed: int) -> list[np.ndarray]:
    """Batches of many sizes, so that workspaces grow while others run; bytes as well where the model takes them."""
    rng, shape = np.random.default_rng(seed), program.items[program.input]
    made: list[np.ndarray] = [rng.standard_normal((size, *shape)).astype(np.float32) for size in (1, 2, 3 + seed, 20)]
    if program.byte_input is not None:
        made.append(rng.integers(256, size=(4, *shape), dtype=np.uint8))
    return made


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("engine_threads", [1, 2])
def test_eight_threads_get_what_one_gets(name: str, engine_threads: int):
    program = PROGRAMS[name]()
    alone = Runtime(program)
    cases = [[(x, alone(x)) for x in inputs(program, seed)] for seed in range(THREADS)]
    shared, start, right = Runtime(program, engine_threads), threading.Barrier(THREADS), [0] * THREADS

    def work(number: int) -> None:
        outs = [np.empty_like(wanted) for _, wanted in cases[number]]
        start.wait()
        for call in range(CALLS):
            which = call % len(outs)
            x, wanted = cases[number][which]
            outs[which].fill(np.nan)
            result = shared(x, out=outs[which]) if call % 3 else shared(x)
            right[number] += result.tobytes() == wanted.tobytes()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert right == [CALLS] * THREADS
    largest = Runtime(program, engine_threads)
    largest(inputs(program, 0)[3])
    assert shared.workspace_bytes <= THREADS * largest.workspace_bytes


def test_the_soak_runs(tmp_path: Path):
    file = tmp_path / "soak.json"
    command = [sys.executable, str(BENCH / "soak.py"), "--models", "tiny", "--calls", "4001", "--json", str(file)]
    result = subprocess.run(
        [*command, "--seconds", "0.05", "--rounds", "1"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"^tiny: 4,001 calls by 8 threads in [\d.]+ s, 0 results differ; resident", result.stdout)
    soaked, *rates = json.loads(file.read_text())["rows"]
    assert (soaked["calls"], soaked["wrong"], len(soaked["resident_bytes"])) == (4001, 0, 10)
    assert [row["threads"] for row in rates] == [1, 2, 4, 8]
    assert all(row["calls_a_second"] > 0 for row in rates)
