"""Where the dense kernel overtakes the sparse one: the measurement behind `sparbor.folding.dense_is_faster`.

    python benchmarks/crossover.py --batch 1 16 64 --precision f16 [--json FILE]

For square layers of several widths it times one layer packed dense and packed sparse at rising densities, in
turns, and prints the nanoseconds of a slot (16 synapses of one row) and of a dense column (16 weights of one
row), and the density from which dense is faster. `SPARBOR_ISA` chooses the kernel set.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sparbor.packing import DenseLayer, Precision, SparseLayer, pack, pack_dense
from sparbor.program import Operation, Program
from sparbor.runtime import Runtime, choose_kernel_set
from tests.layers import random_weight, slot_mask

DENSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def runner(layer: SparseLayer | DenseLayer, batch: int) -> Callable[[], object]:
    program = Program(((layer.fan_in,), (layer.outputs,)), 0, 1, (Operation("linear", (0,), 1, "x"),), {"x": layer})
    runtime = Runtime(program)
    x = np.random.default_rng(0).standard_normal((batch, layer.fan_in)).astype(np.float32)
    out = np.empty((batch, layer.outputs), np.float32)
    runtime(x, out=out)
    return lambda: runtime(x, out=out)


def seconds(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def measure(width: int, batch: int, precision: Precision) -> dict[str, object]:
    rng = np.random.default_rng(width)
    weight = random_weight(rng, width, width)
    sparse = [pack(weight, slot_mask(rng, width, width, each), None, precision) for each in DENSITIES]
    runs = [runner(layer, batch) for layer in (pack_dense(weight, None, precision), *sparse)]
    repeats = max(3, int(2e-3 / (width * width * batch * 2e-11)))
    rounds = [[seconds(run, repeats) for run in runs] for _ in range(9)]
    dense, *sparse_times = (statistics.median(each) for each in zip(*rounds, strict=True))
    slots = [layer.topology.slots for layer in sparse]
    slot_ns = [time / count / batch * 1e9 for time, count in zip(sparse_times, slots, strict=True)]
    column_ns = dense / (width * width / 16) / batch * 1e9
    densities = [count * 16 / width**2 for count in slots]
    losing = [density for density, time in zip(densities, sparse_times, strict=True) if time > dense]
    return {
        "width": width,
        "batch": batch,
        "isa": choose_kernel_set(),
        "precision": precision.value,
        "slot_ns_at_10_percent": round(slot_ns[0], 3),
        "slot_ns_at_60_percent": round(slot_ns[5], 3),
        "dense_column_ns": round(column_ns, 3),
        "dense_wins_from_density": round(min(losing), 2) if losing else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, nargs="+", default=[64, 256, 512, 1024, 2048])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--precision", choices=[each.value for each in Precision], default="f16")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for batch in arguments.batch:
        for width in arguments.width:
            rows.append(measure(width, batch, Precision(arguments.precision)))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": " ".join(sys.argv), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
