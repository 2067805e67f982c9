"""A rival in an environment of its own: it waits there, takes its turns, and is timed by the same clock.

``python -m bench.peers.worker RIVAL FOLDER THREADS`` serves the rival's ``serve(file, x, threads)`` over its pipes: a
line ``output`` or a number of calls comes in, a line of JSON goes out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import CHECKOUT
from bench.peers import Array

if TYPE_CHECKING:
    from torch import Tensor


MODEL, INPUT, OUTPUT = "model", "x.npy", "y.npy"  # files in the folder that both sides see


def python_of(environment: str) -> Path:
    """The interpreter of an environment that ``make peers`` sets up."""
    return CHECKOUT / environment / "bin" / "python"


class Remote:
    """A model that is ready in another process; ``write`` writes the file that the rival reads there."""

    def __init__(
        self, rival: str, environment: str, write: Callable[[Path], object], example: Tensor, threads: int
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        write(folder / MODEL)
        np.save(folder / INPUT, example.numpy())
        paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "src")])
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [python_of(environment), "-m", "bench.peers.worker", rival, str(folder), str(threads)],
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
        output: Array = np.load(Path(self._folder.name) / OUTPUT)
        return output

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


def main() -> None:
    """Serve until the other side hangs up."""
    rival, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the rival prints must not get among the answers
    ready = import_module(f"bench.peers.{rival}").serve(folder / MODEL, np.load(folder / INPUT), threads)

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    answer(ready.stored_bytes)
    for request in sys.stdin:
        if request.strip() == "output":
            np.save(folder / OUTPUT, ready.output())
            answer(True)
        else:
            answer(ready.sample(int(request)))


if __name__ == "__main__":
    main()
