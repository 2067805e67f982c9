"""Classify the images of a folder: a trained network becomes 80 % sparse in one epoch, and then a small fast file.

    python examples/image_classifier.py FOLDER

FOLDER has train/CLASS/*.jpg and test/CLASS/*.jpg. In place of the training of ``dense`` load what you have trained.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import sparbor
from sparbor.timing import sample, summarize

OUT = "images.safetensors"
BYTES = sparbor.ByteInput(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))  # how an image's bytes are normalised


def read(folder: Path, most: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised images ``(images, 3, 32, 32)`` and the numbers of their classes; ``most``: of each class."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(file, label) for label, path in enumerate(classes) for file in sorted(path.iterdir())[:most]]
    pixels = np.stack([Image.open(file).convert("RGB").resize((32, 32)) for file, _ in files])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous() / 255
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (BYTES.mean, BYTES.std))
    return (images - mean) / std, torch.tensor([label for _, label in files])


def network(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs, stride in (3, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes))


def train(model: nn.Module, images, labels, epochs: int, recipe=None, teacher=None) -> nn.Module:
    optimizer, steps = torch.optim.AdamW(model.parameters()), epochs * len(labels.split(64))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    if recipe:
        print(sparbor.perforate(model, optimizer, recipe, total_steps=steps))
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(64):
            x = images[rows] if torch.rand(1) < 0.5 else images[rows].flip(3)
            scores = model(x)
            loss = nn.functional.cross_entropy(scores, labels[rows])
            if teacher:
                loss = sparbor.distillation_loss(scores, teacher(x).detach(), labels=labels[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the images are")
    parser.add_argument("--epochs", type=int, default=6, help="of the dense training")
    parser.add_argument("--most", type=int, help="use so many images of each class; all if it is left out")
    options = parser.parse_args()
    torch.manual_seed(0)
    (images, labels), (x, y) = (read(options.folder / part, options.most) for part in ("train", "test"))

    dense = train(network(int(labels.max()) + 1), images, labels, options.epochs)
    sparse = train(copy.deepcopy(dense), images, labels, 1, sparbor.Recipe.fine_tuning(0.8), dense)

    runtime = sparbor.deploy(sparse, x[:1], weights="int8", calibration=[images[::97]], byte_input=BYTES)
    runtime.save(OUT)

    for name, model, image in ("dense, PyTorch", dense, x[:1]), (f"80 % sparse, {OUT}", runtime, x[:1].numpy()):
        with torch.inference_mode():
            right = torch.cat([model(part).argmax(1) for part in x.split(100)]) == y
            latency = summarize(sample(lambda: model(image), 200))  # noqa: B023
        print(f"{name}: accuracy {right.float().mean():.2%}, {latency.median_us:.0f} us an image")


if __name__ == "__main__":
    main()
