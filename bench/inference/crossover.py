"""Where the dense kernel overtakes the sparse one: the measurement behind the shares in `native/kernels`.

    python bench/crossover.py --layer linear --batch 1 16 64 [--isa avx512] [--weights int8] [--json FILE]
    python bench/crossover.py --layer convolution

One layer is packed dense and packed sparse at rising densities, and these take turns; each counts with its fastest
round. Linear layers are square, of several widths. Convolutions have padding and stride 1, and as many channels as
networks have at planes of their size; they run on one image. A slot is 16 synapses of one row or pixel, a column
16 weights of a dense layer. The last figure is the share of all slots from which dense is faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.inference import engine
from bench.inference.masks import uneven
from bench.job.measure import Sampler
from bench.results_file import ResultsFile
from sparbor.engine.runtime import Runtime
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import pack_by_groups, pack_filters
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.slots import Encoding, SparseLayer, pack
from sparbor.program.program import Operation, Program, Weights
from sparbor.program.windows import Shape, Window
from sparbor.recipe.pattern import Slots
from sparbor.timing import sample
from sparbor.topology.rewire import magnitude_mask

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
WIDTHS = (64, 256, 512, 1024, 2048)
# Channels in and out, height (= width) of a plane, kernel.
CONVOLUTIONS = (
    *((512, 512, 4, 3), (512, 512, 7, 3), (256, 256, 8, 3), (256, 256, 14, 3)),
    *((128, 128, 16, 3), (128, 128, 28, 3), (64, 64, 32, 3), (64, 64, 56, 3)),
    *((3, 32, 32, 3), (32, 64, 16, 3)),
    *((960, 160, 7, 1), (384, 64, 14, 1), (144, 32, 28, 1), (144, 24, 56, 1)),
)
ROUNDS, ROUND_US = 9, 3_000

Row = dict[str, Any]
Case = tuple[Row, int, Iterator[tuple[float, Sampler]]]  # its name, multiply-adds if dense, and what takes turns


def linear_cases(batches: Sequence[int], widths: Sequence[int], encoding: Encoding) -> Iterator[Case]:
    """Square linear layers."""
    for batch in batches:
        for width in widths:
            weight = weights(width, width)
            sparse = pack_quads if encoding is Encoding.INT8 else partial(pack, encoding=encoding)
            packed = _packed(weight, partial(pack_dense, encoding=encoding), sparse)
            run = partial(_run, Operation("linear", (0,), 1, "x"), (width,), (width,), batch)
            name = {"layer": "linear", "width": width, "batch": batch}
            yield name, batch * width * width, ((share, run(layer)) for share, layer in packed)


def convolution_cases(encoding: Encoding) -> Iterator[Case]:
    """Convolutions of one image."""
    for channels, outputs, plane, kernel in CONVOLUTIONS:
        weight = weights(outputs, channels * kernel * kernel)
        sparse = partial(pack_by_groups, groups=1, encoding=encoding)
        packed = _packed(weight, partial(pack_filters, encoding=encoding), sparse)
        window = Window((kernel, kernel), padding=(kernel // 2,) * 4)
        operation = Operation("convolution", (0,), 1, "x", settings=window)
        run = partial(_run, operation, (channels, plane, plane), (outputs, plane, plane), 1)
        name = {"layer": "convolution", "channels": channels, "outputs": outputs, "plane": plane, "kernel": kernel}
        yield name, weight.numel() * plane * plane, ((share, run(layer)) for share, layer in packed)


def weights(outputs: int, fan_in: int) -> Tensor:
    """A matrix whose magnitudes make slot counts vary as training does."""
    torch.manual_seed(0)
    return uneven(outputs, fan_in)


def _packed(
    weight: Tensor, dense: Callable[..., Weights], sparse: Callable[..., SparseLayer | QuadLayer]
) -> Iterator[tuple[float, Weights]]:
    """The dense layer first, then sparse ones with the share of all places that they store."""
    yield 1.0, dense(weight.numpy(), None)
    for density in DENSITIES:
        layer = sparse(weight.numpy(), magnitude_mask(weight, Slots(), density).numpy(), None)
        yield layer.padding.size / weight.numel(), layer


def _run(operation: Operation, x_shape: Shape, y_shape: Shape, batch: int, layer: Weights) -> Sampler:
    runtime = Runtime(Program.of_items((x_shape, y_shape), 0, 1, (operation,), {"x": layer}), as_stored=True)
    x = np.random.default_rng(0).standard_normal((batch, *x_shape)).astype(np.float32)
    y = np.empty((batch, *y_shape), np.float32)
    return partial(sample, partial(runtime, x, out=y))


def fastest(samplers: Sequence[Sampler]) -> list[float]:
    """Microseconds of the fastest call of each."""
    calls = [max(2, int(ROUND_US / min(sampler(3)))) for sampler in samplers]
    rounds = [[min(sampler(count)) for sampler, count in zip(samplers, calls, strict=True)] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def measure(case: Case) -> Row:
    """The figures of one layer."""
    name, multiply_adds, runs = case
    (_, dense), *sparse = runs
    dense_us, *sparse_us = fastest([dense, *(sampler for _, sampler in sparse)])
    shares = [share for share, _ in sparse]
    slot_ns = [1e3 * time / (share * multiply_adds / 16) for share, time in zip(shares, sparse_us, strict=True)]
    crossing = overtaken(zip(shares, sparse_us, strict=True), dense_us)
    return {
        **name,
        "dense_us": round(dense_us, 2),
        "dense_column_ns": round(1e3 * dense_us / (multiply_adds / 16), 4),
        "slot_ns_at_10_percent": round(slot_ns[DENSITIES.index(0.1)], 4),
        "slot_ns_at_50_percent": round(slot_ns[DENSITIES.index(0.5)], 4),
        "dense_wins_from_share": None if crossing is None else round(crossing, 2),
    }


def overtaken(sparse: Iterable[tuple[float, float]], dense: float) -> float | None:
    """The share at which times that grow with it pass ``dense``, between those measured on a straight line."""
    before_share, before = 0.0, 0.0
    for share, time in sparse:
        if time > dense:
            return before_share + (share - before_share) * (dense - before) / (time - before)
        before_share, before = share, time
    return None


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", choices=("linear", "convolution"), default="linear")
    parser.add_argument("--width", type=int, nargs="+", default=WIDTHS, help="of linear layers")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16, 64], help="of linear layers")
    parser.add_argument("--isa", nargs="+", help="kernel sets; by default all that this machine has")
    parser.add_argument("--weights", choices=[each.value for each in Encoding], default="word16")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    if options.layer == "convolution" and options.weights == Encoding.INT8.value:
        parser.error("--weights int8: with --layer linear alone")
    return options


def main() -> None:
    """Measure and print row by row."""
    options = parse()
    results = ResultsFile(options.json)
    encoding = Encoding(options.weights)
    for isa in options.isa or engine.kernel_sets():
        linear = options.layer == "linear"
        cases = linear_cases(options.batch, options.width, encoding) if linear else convolution_cases(encoding)
        with engine.forced(isa):
            for case in cases:
                row = {"isa": isa, "weights": encoding.value, **measure(case)}
                results.add(row)
                print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
