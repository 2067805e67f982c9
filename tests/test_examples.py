"""The examples run on small data of their own making, and end with a deployed file."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sparbor
from tests import texts

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(folder: Path, name: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_examples_are_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert sum(bool(line.strip()) for line in path.read_text().splitlines()) < 80


def test_a_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    with open(tmp_path / "houses.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["rooms", "side", "price"])
        for rooms, side in zip(random.integers(1, 9, 600), random.choice(["sea", "road"], 600), strict=True):
            table.writerow([rooms, side, 1000 * rooms * (2 if side == "sea" else 1)])
    *_, dense, sparse = run(tmp_path, "tabular", "houses.csv", "--target", "price", "--epochs", "40")
    for line in (dense, sparse):
        assert float(line.split("R^2 ")[1].split(",")[0]) > 0.9
    assert sparbor.load(tmp_path / "table.safetensors").inputs[0].shape[-1] == 3


def test_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for bright, name in enumerate(("dark", "light")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(40):
                pixels = random.integers(128 * bright, 128 * bright + 128, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    *_, dense, sparse = run(tmp_path, "image_classifier", ".", "--epochs", "4")
    for line in (dense, sparse):
        assert float(line.split("accuracy ")[1].split("%")[0]) > 90
    assert (tmp_path / "images.safetensors").exists()


def test_sentences(tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    model.mkdir()
    texts.encoder().save_pretrained(model)
    texts.tokenizer(tmp_path).save_pretrained(model)
    random = np.random.default_rng(0)
    for part, count in ("training", 400), ("test", 40):
        names = random.choice(["cat", "dog"], count)
        lines = [f"{name}\tthe {name} {random.choice(['sat', 'ran'])} on the mat" for name in names]
        (tmp_path / f"{part}.tsv").write_text("\n".join(lines))
    *_, dense, sparse = run(tmp_path, "sentence_encoder", "tiny", "training.tsv", "test.tsv")
    for line in (dense, sparse):
        assert float(line.split("accuracy ")[1].split("%")[0]) > 90
    assert (tmp_path / "sentences.safetensors").exists()


def test_a_table_without_the_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(AssertionError, match=r"t.csv has no column 'c': its columns are a, b"):
        run(tmp_path, "tabular", "t.csv", "--target", "c")
