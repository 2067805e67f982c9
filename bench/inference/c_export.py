"""How fast and how large an exported model is, beside the engine's portable kernels.

    python bench/c_export.py PAI/model.safetensors [--cc gcc] [--flags O2 O3] [--json FILE]

The C code is compiled for this machine, its answers are compared with the engine's, and the two take turns in one
process. A call of the C function is timed in C, one of the engine as in every benchmark here: from Python. Flash and
RAM are what `size` finds in the object: text and data, and data and bss.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.job.measure import take_turns
from bench.results_file import ResultsFile
from sparbor.engine.runtime import Runtime
from sparbor.export.c.target import export_c
from sparbor.program.model_file import load
from sparbor.timing import sample

ROUNDS, CALLS, UNTIMED = 30, 300, 30
LARGEST_ERROR = 1e-5  # of the largest output
LARGEST_ERROR_OF_BYTES = 0.05  # of models whose values are bytes, a few of which are the engine's or one beside

TIMER = """
#define _POSIX_C_SOURCE 199309L
#include <time.h>
#include "model.h"

void time_calls(int calls, const float *in, float *out, double *us)
{
    struct timespec begin, end;
    int i;
    for (i = 0; i < calls; i++) {
        clock_gettime(CLOCK_MONOTONIC, &begin);
        model_run(in, out);
        clock_gettime(CLOCK_MONOTONIC, &end);
        us[i] = 1e6 * (double)(end.tv_sec - begin.tv_sec) + 1e-3 * (double)(end.tv_nsec - begin.tv_nsec);
    }
}
"""


def main() -> None:
    """Measure, print and, if asked to, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a deployed model")
    parser.add_argument("--cc", default="gcc", help="the compiler (default: gcc)")
    parser.add_argument("--flags", nargs="+", default=["O2", "O3"], help="its optimization levels (default: O2 O3)")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    os.environ["SPARBOR_ISA"] = "portable"
    results = ResultsFile(options.json)
    with tempfile.TemporaryDirectory() as folder:
        for level in options.flags:
            row = measure(options.model, options.cc, f"-{level.lstrip('-')}", Path(folder) / level)
            results.add(row)
            print(
                f"{row['compiler']} {row['flags']}: {row['c_us']:.2f} µs, engine (portable) {row['engine_us']:.2f} µs, "
                f"ratio {row['ratio']:.2f}; flash {row['flash_bytes']:,} bytes, RAM {row['ram_bytes']:,} bytes, "
                f"largest error {row['max_relative_error']:.1e}"
            )


def measure(model: Path, compiler: str, level: str, folder: Path) -> dict[str, Any]:
    """One row: the model compiled at an optimization level, against the engine."""
    runtime = Runtime(load(model))
    export_c(runtime.program, folder, "model")
    library = compiled(compiler, level, folder)
    x = np.random.default_rng(0).standard_normal((1, *runtime.input_shape)).astype(np.float32)
    y, expected = np.empty((1, *runtime.output_shape), np.float32), runtime(x)
    library.model_run(_floats(x), _floats(y))
    error = float(np.abs(y - expected).max() / np.abs(expected).max())
    in_bytes = any(value.quantization is not None for value in runtime.program.values)
    if not error <= (LARGEST_ERROR_OF_BYTES if in_bytes else LARGEST_ERROR):
        raise SystemExit(f"the C code's outputs are off by {error:.1e} of the largest")

    def timed_in_c(calls: int) -> list[float]:
        us = (ctypes.c_double * calls)()
        library.time_calls(calls, _floats(x), _floats(y), us)
        return list(us)

    samplers = {"c": timed_in_c, "engine": lambda calls: sample(lambda: runtime(x, out=expected), calls)}
    latency = take_turns(samplers, rounds=ROUNDS, calls={"c": CALLS, "engine": CALLS}, untimed=UNTIMED)
    flash, ram = sizes(folder / "model.o")
    return {
        "model": model.name,
        "compiler": compiler,
        "flags": level,
        "isa": runtime.isa,
        "c_us": latency["c"].median_us,
        "engine_us": latency["engine"].median_us,
        "ratio": latency["c"].median_us / latency["engine"].median_us,
        "flash_bytes": flash,
        "ram_bytes": ram,
        "max_relative_error": error,
    }


def compiled(compiler: str, level: str, folder: Path) -> ctypes.CDLL:
    """The exported code and a timer as a shared library; `model.o` is the code alone, as for a board."""
    (folder / "timer.c").write_text(TIMER)
    common = [compiler, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", level]
    subprocess.run([*common, "-fno-pie", "-c", "model.c", "-o", "model.o"], cwd=folder, check=True)
    shared = ["-fPIC", "-shared", "model.c", "timer.c", "-o", "model.so", "-lm"]
    subprocess.run([*common, *shared], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "model.so"))


def sizes(file: Path) -> tuple[int, int]:
    """Bytes of flash and of RAM that an object file asks for."""
    done = subprocess.run(["size", str(file)], capture_output=True, text=True, check=True)
    text, data, bss = (int(number) for number in done.stdout.splitlines()[1].split()[:3])
    return text + data, data + bss


def _floats(array: np.ndarray[Any, Any]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
