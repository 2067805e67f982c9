"""Notices when training computes something else by the same settings: rows of the accuracy study are stale then.

``python bench/training_fingerprints.py`` trains some arms of the study for a few steps on noise and keeps a hash
of each one's weights, for this kind of processor and this release of PyTorch; tests/test_accuracy.py compares. A hash
counts as rows do: as long as its arm has the same settings, the revision among them. So long it is not replaced.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import RESULTS
from bench.job.arms import Part, Split, train
from bench.job.models import TASKS
from bench.study import run
from bench.study.arms import ARMS
from bench.study.rows import Cell, Row, cell_of, is_current
from sparbor import native
from sparbor.files import write_file

FILE = RESULTS / "training-fingerprints.json"

# Enough steps for the switch, the ramp, a change of topology after it, and some steps that follow; one an epoch.
STEPS = 24
# So many that layers are computed by their synapses, and no multiple of the lanes that kernels have.
IMAGES = {"mnist": 56, "cifar10": 24, "mnist-vit": 24}
# How many layers are computed by their synapses at least, where any are; in the CNN one at least is a convolution.
BY_SYNAPSES = {"mnist": 1, "cifar10": 2, "mnist-vit": 1}
ARMS_OF = {
    "mnist": (
        *("dense", "slots", "quads", "unstructured", "nm", "magnitude", "rigl"),
        *("static-random", "slots-rigl", "slots-grown"),
    ),
    "cifar10": ("dense", "slots", "quads"),
    "mnist-vit": ("slots",),
}


def cells() -> list[Cell]:
    """What is trained."""
    return [
        Cell(dataset, arm, 0.9 if (only := ARMS[arm].sparsity) is None else only, "constant", STEPS, seed=0)
        for dataset, arms in ARMS_OF.items()
        for arm in arms
    ]


def fingerprint(cell: Cell, scratch: Path) -> str:
    """A hash of the cell's weights, trained as the study trains; ``scratch`` keeps what arms share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        job, split = cell.job(), noise(cell.dataset)
        arm = run.start(cell, job, split, scratch)
        for _ in train([arm], split, job):
            pass
        weights = hash_of(arm.model.state_dict().values())
        layers = layers_by_synapses(arm.model.train()(split.training.images))
    finally:
        torch.set_num_threads(threads)
    if ARMS[cell.arm].recipe and layers < BY_SYNAPSES[cell.dataset]:
        raise RuntimeError(f"{name(cell)}: its synapses alone compute {layers} layers, so the kernels are not tested")
    return weights


def hash_of(state: Iterable[Tensor]) -> str:
    """Of all numbers, bit by bit, but that zeros have no sign: dropped weights may be either."""
    digest = sha256()
    for value in state:
        if value.is_floating_point():
            digest.update((value + 0.0).contiguous().numpy().tobytes())
    return digest.hexdigest()


def noise(dataset: str) -> Split:
    """Images and labels drawn by lot, always the same."""
    task, lots = TASKS[dataset], torch.Generator().manual_seed(0)

    def part(images: int) -> Part:
        pixels = torch.randn(images, *task.image_shape, generator=lots)
        if pixels.dim() == 4:  # as the study's lie
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return Part(pixels, torch.randint(task.classes, (images,), generator=lots))

    return Split(part(IMAGES[dataset]), part(8), part(8), torch.empty(0), "noise", "noise", "noise", official=False)


def layers_by_synapses(output: Tensor) -> int:
    """How many of the layers that computed ``output`` did so by their synapses alone."""
    found, todo = set(), [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [before for before, _ in node.next_functions]
    return sum("SparseConv2d" in node.name() for node in found)


def here() -> dict[str, Any]:
    """All that the same arithmetic may be rounded by in another way."""
    return {
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "kernel_set": native.choose_kernel_set(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Its vendor, family and model, as numbers where the system has them: names are often left out."""
    wanted = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return " ".join(f"{key} {facts[key]}" for key in wanted if key in facts) or platform.processor()


def load() -> list[Row]:
    """Fingerprints of today's settings and revisions, of all machines."""
    return [row for row in json.loads(FILE.read_text())["rows"] if is_current(row)] if FILE.exists() else []


def recorded(rows: list[Row], cell: Cell) -> str | None:
    """The fingerprint that ``cell`` is to have here, if it is known."""
    of_this = (row["sha256"] for row in rows if cell_of(row) == cell and row["environment"] == here())
    return next(of_this, None)


def name(cell: Cell) -> str:
    """Which of :func:`cells` it is."""
    return f"{cell.dataset}, {cell.arm}"


def what_to_do(cell: Cell) -> str:
    """When a cell's weights are not those that were recorded."""
    revision, study = "SPARSE_REVISION" if ARMS[cell.arm].recipe else "DENSE_REVISION", cell.dataset
    return (
        f"{name(cell)}: training computes other weights than at {revision} {ARMS[cell.arm].revision}. If meant, raise"
        f" {revision} in bench/study/arms.py, run `python bench/training_fingerprints.py`, and train stale"
        f" rows: `python bench/accuracy.py --plan {study} --json bench/results/study-{study}.json`"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Record what is not known here."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(
        arguments
    )
    rows, differing = load(), []
    with tempfile.TemporaryDirectory() as scratch:
        for cell in cells():
            found, known = fingerprint(cell, Path(scratch)), recorded(rows, cell)
            if known is None:
                rows.append({**asdict(cell), **cell.settings(), "environment": here(), "sha256": found})
            elif known != found:
                differing.append(cell)
            print(f"{name(cell)}: {'recorded' if known is None else 'known' if known == found else 'differs'}")
    write_file(FILE, (json.dumps({"rows": rows}, indent=1) + "\n").encode())
    if differing:
        sys.exit("\n".join(map(what_to_do, differing)))
