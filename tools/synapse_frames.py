"""Trains a network on MNIST and draws how its first layer loses synapses, docs/synapses.svg: ``make pictures``.

It is the network of the reference job, 784-256-256-10, with its usual recipe and a run of few steps. Each frame shows
the 28 x 28 pixels of the image and how many of the 256 neurons still read each of them.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the checkout: of it `bench` can be imported

import sparbor  # noqa: E402
from bench import data  # noqa: E402
from bench.job.arms import Part, accuracy_percent  # noqa: E402
from bench.job.models import TASKS  # noqa: E402
from sparbor.files import write_file  # noqa: E402

PICTURE = REPOSITORY / "docs" / "synapses.svg"
STEPS, BATCH = 700, 128
SHOWN = (0.1, 0.15, 0.25, 0.4, 0.75, 1.0)  # shares of the run: before the switch, on the way down, reached, the end
TASK = TASKS["mnist"]
COLUMNS, SIDE, GAP, TEXT = 3, 196, 22, 58
FEW, MANY = np.array([244, 248, 247]), np.array([0, 77, 74])  # colours: no neuron reads the pixel, all of them do


def frames(data_dir: Path | None) -> list[tuple[NDArray[np.float64], str, str]]:
    """Of each shown step: the share of neurons that read each pixel, and two lines of text."""
    torch.manual_seed(0)
    dataset = data.load("mnist", data_dir)
    images, labels = (
        TASK.normalise(torch.from_numpy(dataset.train_images)),
        torch.from_numpy(dataset.train_labels).long(),
    )
    test = Part(TASK.normalise(torch.from_numpy(dataset.test_images)), torch.from_numpy(dataset.test_labels).long())
    model = TASK.build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    sparbor.perforate(model, optimizer, sparbor.Recipe(sparsity=0.9), total_steps=STEPS)
    order = torch.cat([torch.randperm(len(images)) for _ in range(STEPS * BATCH // len(images) + 1)])
    shown, found = {round(share * STEPS) for share in SHOWN}, []
    for step in range(1, STEPS + 1):
        batch = order[(step - 1) * BATCH : step * BATCH]
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in shown:
            mask = model.fc1.mask
            right = f"{accuracy_percent(model, test):.1f} % right"
            model.train()
            density = f"step {step}: {mask.float().mean():.0%} left".replace("%", " %")
            found.append((mask.double().mean(0).view(28, 28).numpy(), density, right))
    return found


def picture(found: list[tuple[NDArray[np.float64], str, str]]) -> str:
    """The frames in rows, each with its text below."""
    rows = -(-len(found) // COLUMNS)
    width, height = COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + TEXT + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="19">',
        "<title>A layer loses its synapses</title>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#ffffff"/>',
    ]
    for number, (shares, density, right) in enumerate(found):
        x, y = GAP + number % COLUMNS * (SIDE + GAP), GAP + number // COLUMNS * (SIDE + TEXT + GAP)
        parts += [
            f'<image x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" style="image-rendering:pixelated"'
            f' href="data:image/png;base64,{png(shares)}"/>',
            f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#b8c4c3"/>',
            f'<text x="{x}" y="{y + SIDE + 24}" fill="#1d2b2a">{density}</text>',
            f'<text x="{x}" y="{y + SIDE + 48}" fill="#4a5b5a">{right}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def png(shares: NDArray[np.float64]) -> str:
    """One frame as a picture of a pixel each."""
    colours = FEW + np.sqrt(shares)[..., None] * (MANY - FEW)  # the root: a tenth can still be told from nothing
    file = io.BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Train, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="a directory that has MNIST")
    write_file(PICTURE, picture(frames(parser.parse_args().data_dir)).encode())


if __name__ == "__main__":
    main()
