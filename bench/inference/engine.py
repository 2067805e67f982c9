"""Our own engine as a contender: each kernel set that the machine has, at each precision."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import sparbor
from bench.peers import Array, Example, arguments
from sparbor.timing import sample

NAME = "sparbor"
DENSE_NAME = "sparbor-dense"  # a model without a mask
KIND = "sparse"
PRECISIONS = ("f16", "f32", "int8")


def rounding(precision: str, example: Example) -> dict[str, Any]:
    """How `deploy` is told to store weights."""
    match precision:
        case "f16":
            return {"weights": "word16"}
        case "f32":
            return {"weights": "exact"}
        case "int8":
            return {"weights": "int8", "calibration": [example]}
        case _:
            raise ValueError(f"precision={precision!r}: it must be one of {', '.join(PRECISIONS)}")


def kernel_sets() -> list[str]:
    """What this machine can run, best first."""
    from sparbor.engine import runtime

    return runtime.kernel_sets()


class Loaded:
    """A runtime that is ready to run ``example`` into one output array."""

    def __init__(self, runtime: Any, example: Example) -> None:
        self.runtime = runtime
        self._given = [each.numpy() for each in arguments(example)]
        self._y = np.array(runtime(*self._given))

    def output(self) -> Array:
        self._y.fill(np.nan)
        return np.array(self.runtime(*self._given, out=self._y))

    def sample(self, times: int) -> list[float]:
        runtime, given, y = self.runtime, self._given, self._y
        if len(given) > 1:
            return sample(lambda: runtime(*given, out=y), times)
        (x,) = given
        return sample(lambda: runtime(x, out=y), times)

    def close(self) -> None:
        pass


class Engine(Loaded):
    """A model, deployed for a kernel set, a precision and so many threads."""

    def __init__(self, model: nn.Module, example: Example, threads: int, isa: str, precision: str) -> None:
        with forced(isa):
            runtime = sparbor.deploy(model, example, threads=threads, **rounding(precision, example))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            runtime.save(file)
            self.stored_bytes = file.stat().st_size
        super().__init__(runtime, example)

    @property
    def packed_bytes(self) -> int:
        """What one call has to read: all packed layers, but of an embedding next to nothing."""
        return sum(layer.bytes for layer in self.runtime.describe() if layer.kind != "table")

    @property
    def facts(self) -> dict[str, Any]:
        """For its row: whether each layer runs sparse or dense, which the engine chooses for this batch."""
        kinds = list(self.runtime.ways_at(len(self._y)).values())
        kind = "sparse" if "sparse" in kinds else "dense"
        return {"kind": kind, "dense_layers": kinds.count("dense"), "packed_bytes": self.packed_bytes}


@contextmanager
def forced(isa: str) -> Iterator[None]:
    """Within, models are made for this kernel set."""
    before = os.environ.get("SPARBOR_ISA")
    os.environ["SPARBOR_ISA"] = isa
    try:
        yield
    finally:
        if before is None:
            del os.environ["SPARBOR_ISA"]
        else:
            os.environ["SPARBOR_ISA"] = before
