"""A rival in an environment of its own: it waits there, takes its turns, and is timed by the same clock.

``python -m peers.worker FILE FOLDER THREADS`` serves the rival's ``serve(layers, x, threads)`` over its pipes: a line
``output`` or a number of calls comes in, a line of JSON goes out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peers import ROOT, Array, Layer, layers

if TYPE_CHECKING:
    from torch import Tensor, nn


def python_of(environment: str) -> Path:
    """The interpreter of an environment that ``make peers`` sets up."""
    return ROOT / environment / "bin" / "python"


class Remote:
    """A model that is ready in another process."""

    def __init__(self, file: str, environment: str, model: nn.Sequential, example: Tensor, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        arrays = {"x": example.numpy()}
        for index, layer in enumerate(layers(model)):
            arrays |= {f"weight{index}": layer.weight, f"bias{index}": layer.bias, f"relu{index}": np.array(layer.relu)}
        np.savez(folder / "model.npz", **arrays)
        paths = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT / "src")])
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [python_of(environment), "-m", "peers.worker", file, str(folder), str(threads)],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.stored_bytes = int(self._answer())

    def output(self) -> Array:
        self._ask("output")
        return np.load(Path(self._folder.name) / "output.npy")

    def sample(self, times: int) -> list[float]:
        answer: list[float] = self._ask(times)
        return answer

    def close(self) -> None:
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()

    def _ask(self, request: str | int) -> Any:
        assert self._process.stdin
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
        self.close()
        raise RuntimeError(f"its process ended: {last}")


def read_model(file: Path) -> tuple[list[Layer], Array]:
    """Layers and input, as :class:`Remote` has written them."""
    with np.load(file) as arrays:
        count = sum(name.startswith("weight") for name in arrays)
        chain = [Layer(arrays[f"weight{i}"], arrays[f"bias{i}"], bool(arrays[f"relu{i}"])) for i in range(count)]
        return chain, arrays["x"]


def main() -> None:
    """Serve until the other side hangs up."""
    file, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the rival prints must not get among the answers
    ready = import_module(f"peers.{file}").serve(*read_model(folder / "model.npz"), threads)

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    answer(ready.stored_bytes)
    for request in sys.stdin:
        if request.strip() == "output":
            np.save(folder / "output.npy", ready.output())
            answer(True)
        else:
            answer(ready.sample(int(request)))


if __name__ == "__main__":
    main()
