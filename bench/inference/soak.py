"""Python threads that share one runtime: a million calls, each result compared to the last bit with a single thread's;
resident memory over the run; and how many calls a second 1, 2, 4 and 8 threads make.

``python bench/soak.py --calls 1000000 --json FILE`` ends with status 1 if a result differs or memory grows.
"""

import argparse
import time
from pathlib import Path
from statistics import median
from threading import Barrier, Event, Thread
from typing import Any

import numpy as np

import sparbor
from bench.inference import models
from bench.job.memory_probe import status_bytes
from bench.results_file import ResultsFile
from sparbor.engine.runtime import Runtime

BATCHES = (1, 2, 3, 5)  # of the inputs that a thread has, in turns
MOST_GROWTH = 2**20  # bytes, from the end of the first tenth of the run to the end of all
THROUGHPUT_THREADS = (1, 2, 4, 8)


class Caller:
    """A thread with inputs of its own, which it runs again and again and counts results that are not as before."""

    def __init__(self, runtime: Any, number: int, calls: int) -> None:
        rng = np.random.default_rng(number)
        self.runtime, self.calls, self.done, self.wrong = runtime, calls, 0, 0
        self.inputs = [rng.standard_normal((size, *runtime.input_shape)).astype(np.float32) for size in BATCHES]
        self.outputs = [np.empty((size, *runtime.output_shape), np.float32) for size in BATCHES]
        self.wanted = [runtime(x).tobytes() for x in self.inputs]
        self.resident: list[int] = []  # bytes of the process, at the end of each tenth of this thread's calls

    def __call__(self) -> None:
        for tenth in range(10):
            for number in range(self.calls * tenth // 10, self.calls * (tenth + 1) // 10):
                which = number % len(BATCHES)
                out = self.outputs[which]
                out.fill(np.nan)
                self.runtime(self.inputs[which], out=out)
                self.wrong += out.tobytes() != self.wanted[which]
                self.done += 1
            self.resident.append(status_bytes("VmRSS"))


def soak(runtime: Any, calls: int, threads: int) -> dict[str, Any]:
    """The calls of a runtime, or of what is called like one, shared out among the threads; memory while they ran."""
    callers = [Caller(runtime, number, calls // threads + (number < calls % threads)) for number in range(threads)]
    began = time.perf_counter()
    workers = [Thread(target=caller) for caller in callers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    done = sum(caller.done for caller in callers)
    return {
        "calls": done,
        "wrong": sum(caller.wrong for caller in callers) + calls - done,
        "seconds": round(seconds, 2),
        "resident_bytes": callers[0].resident,
        "workspace_bytes": runtime.workspace_bytes,
    }


def throughput(runtime: Runtime, threads: int, seconds: float) -> tuple[float, float]:
    """Calls a second of batch 1, of all threads together; and a second of processor time, whatever else runs here."""
    start, stop, counts = Barrier(threads + 1), Event(), []

    def work() -> None:
        x, out = (np.zeros((1, *shape), np.float32) for shape in (runtime.input_shape, runtime.output_shape))
        count, ended = 0, stop.is_set
        start.wait()
        while not ended():
            for _ in range(20):
                runtime(x, out=out)
            count += 20
        counts.append(count)

    workers = [Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began, used = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began), sum(counts) / (time.process_time() - used)


def throughputs(runtime: Runtime, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """The medians of some rounds, the numbers of threads in turns."""
    rates: dict[int, list[tuple[float, float]]] = {threads: [] for threads in THROUGHPUT_THREADS}
    for _ in range(rounds):
        for threads, measured in rates.items():
            measured.append(throughput(runtime, threads, seconds))
    rows = []
    for threads, measured in rates.items():
        wall, processor = map(median, zip(*measured, strict=True))
        rows.append({"threads": threads, "calls_a_second": wall, "calls_a_processor_second": processor})
    return [{**row, "of_one_threads": row["calls_a_second"] / rows[0]["calls_a_second"]} for row in rows]


def main() -> int:
    """Soak and then measure each model, the thread counts in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["seed-mlp", "mlp-2048x4"], choices=models.OF_NOISE)
    parser.add_argument("--calls", type=int, default=1_000_000, help="with the first model; the others are not soaked")
    parser.add_argument("--threads", type=int, default=8, help="that share the runtime (default: 8)")
    parser.add_argument("--engine-threads", type=int, default=1, help="of the runtime itself (default: 1)")
    parser.add_argument("--seconds", type=float, default=1.0, help="a measurement of throughput (default: 1)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    results, failed = ResultsFile(options.json), False
    for number, model in enumerate(options.models):
        network, example = models.dendritic(model, 0.9, "varying"), models.example(model, 1)
        runtime = sparbor.deploy(network, example, threads=options.engine_threads)
        key = {"model": model, "isa": runtime.isa, "engine_threads": options.engine_threads}
        if number == 0:
            row = soak(runtime, options.calls, options.threads)
            results.add({**key, "part": "soak", "threads": options.threads, **row})
            failed = report_soak(model, options.threads, row)
        for row in throughputs(runtime, options.seconds, options.rounds):
            results.add({**key, "part": "throughput", **row})
            print(
                f"{model}: {row['threads']} threads, {row['calls_a_second']:,.0f} calls a second "
                f"({row['of_one_threads']:.2f} of one thread's), "
                f"{row['calls_a_processor_second']:,.0f} a processor second",
                flush=True,
            )
    return int(failed)


def report_soak(model: str, threads: int, row: dict[str, Any]) -> bool:
    """Print it; whether it failed."""
    first, *_, last = row["resident_bytes"]
    kib = {name: f"{size / 1024:,.0f} KiB" for name, size in (("first", first), ("last", last))}
    print(
        f"{model}: {row['calls']:,} calls by {threads} threads in {row['seconds']:.1f} s, "
        f"{row['wrong']} results differ; resident after a tenth {kib['first']}, in the end {kib['last']}, "
        f"{(last - first) / 1024:+,.0f} KiB; workspaces {row['workspace_bytes'] / 1024:,.0f} KiB",
        flush=True,
    )
    return bool(row["wrong"]) or last - first > MOST_GROWTH
