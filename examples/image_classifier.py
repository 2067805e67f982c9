"""Classify the images of a folder: a trained network becomes 80 % sparse in one epoch, and then a small fast file.

    python examples/image_classifier.py FOLDER

FOLDER has train/CLASS/*.jpg and test/CLASS/*.jpg (or .png), as torchvision's ImageFolder wants it; CIFAR-10 is to be had
in that form. Images are resized to 32 x 32. Your own trained network goes where ``train(dense, ...)`` is.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import sparbor
from sparbor.timing import sample, summarize

BYTES = sparbor.ByteInput(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))  # how an image's bytes are normalised


def read(folder: Path, classes: list[str], most: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes ``(images, 3, 32, 32)`` and labels ``(images,)``; ``most``: of each class."""
    files = [(file, label) for label, name in enumerate(classes) for file in sorted((folder / name).iterdir())[:most]]
    images = [np.array(Image.open(file).convert("RGB").resize((32, 32))).transpose(2, 0, 1) for file, _ in files]
    return torch.from_numpy(np.stack(images)), torch.tensor([label for _, label in files])


def normalised(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (BYTES.mean, BYTES.std))
    return (images / 255 - mean) / std


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def train(model, images, labels, epochs, lr, recipe=None, teacher=None) -> None:
    """One cycle of the learning rate; with a ``teacher`` its scores are to be met as well as the labels."""
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    steps = epochs * len(labels.split(64))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    if recipe:
        print(sparbor.perforate(model, optimizer, recipe, total_steps=steps))
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(labels)).split(64):
            x = normalised(images[rows])
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x, x.flip(3))
            scores = model(x)
            if teacher is None:
                loss = nn.functional.cross_entropy(scores, labels[rows])
            else:
                with torch.no_grad():
                    wanted = teacher(x)
                loss = sparbor.distillation_loss(scores, wanted, labels=labels[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
