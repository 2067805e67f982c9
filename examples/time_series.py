"""Classify time series: a dense convolutional network, then a 90 % sparse one, then a small fast file.

    pip install --no-deps aeon
    python examples/time_series.py JapaneseVowels

The package aeon carries some small data sets. In place of such a name write FOLDER/NAME for two files of your own,
FOLDER/NAME_TRAIN.ts and FOLDER/NAME_TEST.ts: in each line a series, its numbers parted by commas, a colon, its class.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

import sparbor
from sparbor.timing import sample, summarize

OUT = "series.safetensors"


def find(data: str) -> list[Path]:
    """The two files of a data set. Of aeon the files are all that is needed, so it is found and not imported."""
    aeon = find_spec("aeon")
    bundled = Path(aeon.origin).parent / "datasets" / "data" if aeon and aeon.origin else Path("aeon")
    for start in data, bundled / data / data:
        files = [Path(f"{start}_{part}.ts") for part in ("TRAIN", "TEST")]
        if all(file.is_file() for file in files):
            return files
    names = sorted(file.name.removesuffix("_TEST.ts") for file in bundled.glob("*/*_TEST.ts"))
    raise SystemExit(f"no file {data}_TRAIN.ts and {data}_TEST.ts; aeon's: {', '.join(names) or 'it is not installed'}")


def read(file: Path) -> tuple[list[torch.Tensor], list[str]]:
    """Series ``(channels, length)`` and their classes; where there are several channels, colons part them."""
    series, classes = [], []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.strip() and line[0] not in "#@":  # with these begins what is said about the data
            try:
                channels, name = line.strip().rsplit(":", 1)
                series.append(torch.tensor([[*map(float, channel.split(","))] for channel in channels.split(":")]))
            except ValueError as error:  # no class, a missing value, or channels of different lengths
                raise SystemExit(f"{file}, line {number}: {error}") from None
            classes.append(name)
    return series, classes


def train(recipe: sparbor.Recipe | None, x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    sizes = (x.shape[1], 64, 1), (64, 128, 2), (128, 128, 2)  # inputs, outputs, stride
    layers = [nn.Sequential(nn.Conv1d(i, o, 5, s, 2), nn.BatchNorm1d(o), nn.ReLU()) for i, o, s in sizes]
    end = nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, int(y.max()) + 1)
    model = nn.Sequential(nn.BatchNorm1d(x.shape[1], affine=False), *layers, *end)
    optimizer, steps = torch.optim.AdamW(model.parameters()), epochs * len(y.split(16))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    if recipe:
        print(sparbor.perforate(model, optimizer, recipe, total_steps=steps))
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(16):
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="JapaneseVowels", help="a name of aeon's, or FOLDER/NAME")
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    (series, classes), (test_series, test_classes) = (read(file) for file in find(options.data))
    names = sorted(set(classes))
    if unknown := sorted(set(test_classes) - set(names)):
        raise SystemExit(f"{options.data}: no series of the training has the class {', '.join(unknown)}")
    if not names or not test_classes or len({len(each) for each in series + test_series}) > 1:
        raise SystemExit(f"{options.data}: both files must have series, and all series as many channels")
    padded = nn.utils.rnn.pad_sequence([each.T for each in series + test_series], True).mT.contiguous()  # with zeros
    labels = torch.tensor([names.index(name) for name in classes + test_classes])
    (x, test_x), (y, test_y) = (each.split([len(series), len(test_series)]) for each in (padded, labels))

    dense = train(None, x, y, options.epochs)
    sparse = train(sparbor.Recipe(0.9, pattern=sparbor.Quads()), x, y, options.epochs)

    runtime = sparbor.deploy(sparse, x[:1], weights="int8", calibration=[x])
    runtime.save(OUT)

    torch.set_num_threads(1)
    for name, model, one in ("dense, PyTorch", dense, x[:1]), (f"90 % sparse, {OUT}", runtime, x[:1].numpy()):
        with torch.inference_mode():
            right = model(test_x).argmax(1) == test_y
            latency = summarize(sample(lambda: model(one), 500))  # noqa: B023
        print(f"{name}: accuracy {right.float().mean():.2%}, {latency.median_us:.0f} us a series")


if __name__ == "__main__":
    main()
