"""Up to which density a layer trains faster by its synapses alone: the measurement behind ``synapses.dispatch``.

``python bench/training_crossover.py [--threads 2]``; ``SPARBOR_ISA`` chooses the kernel set. For each layer,
forward and backward over a batch are timed dense and at several densities, in turns; printed is dense time over sparse
time.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from sparbor.native import choose_kernel_set
from sparbor.nn.masks import positions_of
from sparbor.synapses.dispatch import compute, conv_params
from sparbor.synapses.lists import Synapses

BATCH = 128
DENSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear 784 to 256": (lambda: nn.Linear(784, 256), (784,)),
    "linear 256 to 256": (lambda: nn.Linear(256, 256), (256,)),
    "linear 256 to 128": (lambda: nn.Linear(256, 128), (256,)),
    "linear 128 to 128": (lambda: nn.Linear(128, 128), (128,)),
    "linear 4096 to 512": (lambda: nn.Linear(4096, 512), (4096,)),
    "linear 2048 to 2048": (lambda: nn.Linear(2048, 2048), (2048,)),
    "conv 32 to 64, 16 x 16": (lambda: nn.Conv2d(32, 64, 3, padding=1), (32, 16, 16)),
    "conv 64 to 64, 32 x 32": (lambda: nn.Conv2d(64, 64, 3, padding=1), (64, 32, 32)),
    "conv 256 to 256, 8 x 8": (lambda: nn.Conv2d(256, 256, 3, padding=1), (256, 8, 8)),
}


class Contest:
    """One layer, dense and with random masks."""

    def __init__(self, layer: nn.Module, shape: tuple[int, ...], channels_last: bool, batch: int) -> None:
        self.layer = layer
        x = torch.randn(batch, *shape)
        self.x = (x.to(memory_format=torch.channels_last) if channels_last else x).requires_grad_()
        self.dy = torch.randn_like(layer(self.x))
        params = conv_params(layer)
        assert params is not None  # all of LAYERS can be run by synapses
        assert isinstance(layer.weight, Tensor)
        self.calls: dict[float, Callable[[], Tensor]] = {1.0: lambda: layer(self.x)}
        for density in DENSITIES:
            mask = torch.rand(layer.weight.shape) < density
            weights = nn.Parameter(layer.weight.detach()[mask])
            synapses = Synapses(positions_of(mask), mask.shape, params)
            self.calls[density] = lambda w=weights, s=synapses: compute(layer, w, s, self.x)  # type: ignore[misc]

    def seconds(self, rounds: int) -> dict[float, float]:
        """Medians over rounds in which all take turns."""
        taken: dict[float, list[float]] = {density: [] for density in self.calls}
        for _ in range(rounds):
            for density, call in self.calls.items():
                start = time.perf_counter()
                call().backward(self.dy)
                taken[density].append(time.perf_counter() - start)
        return {density: median(times[2:]) for density, times in taken.items()}


def main() -> None:
    """Time every layer and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    table = Table("layer", "dense (ms)", *(f"{density:.0%}" for density in DENSITIES))
    table.title = f"{choose_kernel_set()}, {options.threads} threads, batch {options.batch}: dense time / sparse time"
    for name, (build, shape) in LAYERS.items():
        for channels_last in (False, True) if len(shape) > 1 else (False,):
            seconds = Contest(build(), shape, channels_last, options.batch).seconds(options.rounds)
            ratios = (f"{seconds[1.0] / seconds[density]:.2f}" for density in DENSITIES)
            table.add_row(name + (", channels last" if channels_last else ""), f"{1000 * seconds[1.0]:.2f}", *ratios)
    Console(width=120).print(table)
