"""Predict a column of numbers in a table from the other columns: dense, then 90 % sparse, then as a small fast file.

    python examples/tabular.py TABLE.csv --target COLUMN

Columns of numbers go in as they are, columns of words as a number a word, 1 where it is that word.
"""

import argparse
import csv
import random

import torch
from torch import nn

import sparbor
from sparbor.timing import sample, summarize

OUT = "table.safetensors"


def read(path: str, target: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs ``(rows, features)`` and the wanted numbers ``(rows, 1)``, in random order."""
    with open(path, newline="") as file:
        table = list(csv.DictReader(file))
    if target not in table[0]:
        raise SystemExit(f"{path} has no column {target!r}: its columns are {', '.join(table[0])}")
    table = random.Random(0).sample(table, len(table))
    columns = []
    for name in (name for name in table[0] if name and name != target):
        values = [row[name] for row in table]
        try:
            columns.append([float(value) for value in values])
        except ValueError:
            columns += [[float(value == word) for value in values] for word in sorted(set(values))]
    return torch.tensor(columns).T.contiguous(), torch.tensor([[float(row[target])] for row in table])


def train(recipe: sparbor.Recipe | None, x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    hidden = [nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    model = nn.Sequential(nn.BatchNorm1d(x.shape[1], affine=False), *hidden, nn.Linear(256, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    steps = epochs * len(x.split(256))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    if recipe:
        print(sparbor.perforate(model, optimizer, recipe, total_steps=steps))
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(256):
            nn.functional.mse_loss(model(x[rows]), (y[rows] - y.mean()) / y.std()).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    with torch.no_grad():  # it has learned to predict numbers around 0
        model[-1].weight.mul_(y.std())
        model[-1].bias.mul_(y.std()).add_(y.mean())
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="a CSV file with a line of names")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    x, y = read(options.table, options.target)
    test = len(x) // 5  # a fifth of the rows, which no model is trained on

    dense = train(None, x[test:], y[test:], options.epochs)
    sparse = train(sparbor.Recipe(0.9, pattern=sparbor.Quads()), x[test:], y[test:], options.epochs)

    runtime = sparbor.deploy(sparse, x[:1], weights="int8", calibration=[x[test : test + 1000]])
    runtime.save(OUT)

    torch.set_num_threads(1)
    for name, model, row in ("dense, PyTorch", dense, x[:1]), (f"90 % sparse, {OUT}", runtime, x[:1].numpy()):
        with torch.inference_mode():
            explained = 1 - (y[:test] - model(x[:test])).square().sum() / (y[:test] - y[:test].mean()).square().sum()
            latency = summarize(sample(lambda: model(row), 2000))  # noqa: B023
        print(f"{name}: R^2 {explained:.4f}, {latency.median_us:.1f} us a row")


if __name__ == "__main__":
    main()
