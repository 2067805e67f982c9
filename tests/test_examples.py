"""The examples and their notebooks run on small data of their own making, and end with a deployed file."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import notebooks
import numpy as np
import pytest
from PIL import Image

import sparbor
from tests import texts

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

speaks = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="needs espeak-ng (Debian: apt-get install espeak-ng)"
)

Run = Callable[..., list[str]]


def lines_of(folder: Path, script: Path, *arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, str(script), *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_script(folder: Path, name: str, arguments: dict[str, str | Path], **options: object) -> list[str]:
    given = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    return lines_of(folder, EXAMPLES / f"{name}.py", *map(str, arguments.values()), *given)


def run_notebook(folder: Path, name: str, arguments: dict[str, str | Path], **options: object) -> list[str]:
    """Run a notebook's code cells one after another, with these in place of the parameters that it has."""
    code = []
    for cell in json.loads((EXAMPLES / "notebooks" / f"{name}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            code.append("".join(cell["source"]))
        if "parameters" in cell["metadata"].get("tags", ()):
            for parameter, value in {**arguments, **options}.items():
                assert any(line.startswith(f"{parameter} = ") for line in cell["source"])
                code.append(f"{parameter} = " + (f"Path({str(value)!r})" if isinstance(value, Path) else repr(value)))
    (folder / "cells.py").write_text("\n".join(code))
    return lines_of(folder, folder / "cells.py")


@pytest.fixture(params=[run_script, run_notebook], ids=["script", "notebook"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an example as a script or as its notebook: in a folder, by name, with what must be given and what may be."""
    return request.param  # type: ignore[no-any-return]


def accuracies(lines: list[str]) -> list[float]:
    """Of the dense and of the sparse network, which the last two lines tell."""
    return [float(line.split("accuracy ")[1].split("%")[0]) for line in lines[-2:]]


def test_examples_are_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert sum(bool(line.strip()) for line in path.read_text().splitlines()) < 80


def test_notebooks_are_those_of_the_scripts() -> None:
    made = {f"{script.stem}.ipynb": notebooks.notebook(script) for script in notebooks.scripts()}
    assert {path.name: path.read_text() for path in notebooks.FOLDER.iterdir()} == made, "run make notebooks"


def test_a_table(tmp_path: Path, run: Run) -> None:
    random = np.random.default_rng(0)
    with open(tmp_path / "houses.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["rooms", "side", "price"])
        for rooms, side in zip(random.integers(1, 9, 600), random.choice(["sea", "road"], 600), strict=True):
            table.writerow([rooms, side, 1000 * rooms * (2 if side == "sea" else 1)])
    *_, dense, sparse = run(tmp_path, "tabular", {"table": "houses.csv"}, target="price", epochs=40)
    for line in (dense, sparse):
        assert float(line.split("R^2 ")[1].split(",")[0]) > 0.9
    assert sparbor.load(tmp_path / "table.safetensors").inputs[0].shape[-1] == 3


def test_images(tmp_path: Path, run: Run) -> None:
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for bright, name in enumerate(("dark", "light")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(40):
                pixels = random.integers(128 * bright, 128 * bright + 128, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    assert min(accuracies(run(tmp_path, "image_classifier", {"folder": Path(".")}, epochs=4))) > 90
    assert (tmp_path / "images.safetensors").exists()


def test_sentences(tmp_path: Path, run: Run) -> None:
    model = tmp_path / "tiny"
    model.mkdir()
    texts.encoder().save_pretrained(model)
    texts.tokenizer(tmp_path).save_pretrained(model)
    random = np.random.default_rng(0)
    for part, count in ("training", 400), ("test", 40):
        names = random.choice(["cat", "dog"], count)
        lines = [f"{name}\tthe {name} {random.choice(['sat', 'ran'])} on the mat" for name in names]
        (tmp_path / f"{part}.tsv").write_text("\n".join(lines))
    files = {"folder": "tiny", "training": Path("training.tsv"), "test": Path("test.tsv")}
    assert min(accuracies(run(tmp_path, "sentence_encoder", files))) > 90
    assert (tmp_path / "sentences.safetensors").exists()


def test_a_table_without_the_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(AssertionError, match=r"t.csv has no column 'c': its columns are a, b"):
        run_script(tmp_path, "tabular", {"table": "t.csv"}, target="c")


@speaks
def test_speech(tmp_path: Path, run: Run) -> None:
    assert min(accuracies(run(tmp_path, "speech_commands", {}, words="yes no", epochs=12))) > 75
    assert sparbor.load(tmp_path / "speech.safetensors").inputs[0].shape[-2:] == (32, 106)


def test_speech_without_who_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssertionError, match=r"^there must be .* espeak-ng to speak them: apt-get install espeak-ng"):
        run_script(tmp_path, "speech_commands", {})


@speaks
def test_a_word_that_nobody_can_say(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"^nothing is heard of espeak-ng .* -- _"):
        run_script(tmp_path, "speech_commands", {}, words="_")


def write_waves(path: Path, count: int, names: tuple[str, ...] = ("slow", "fast")) -> None:
    """Series of two channels and 16 to 30 steps, whose class is how fast they swing, in the format of aeon's files."""
    random = np.random.default_rng(count)
    lines = ["# waves", "@problemName waves", "@classLabel true slow fast", "@data"]
    for number in range(count):
        name = names[number % len(names)]
        steps = random.uniform(0, 6) + (2.0 if name == "fast" else 0.5) * np.arange(random.integers(16, 31))
        channels = (",".join(f"{value:.3f}" for value in wave) for wave in (np.sin(steps), np.cos(steps)))
        lines.append(":".join((*channels, name)))
    path.write_text("\n".join(lines) + "\n")


def test_time_series(tmp_path: Path, run: Run) -> None:
    write_waves(tmp_path / "waves_TRAIN.ts", 80)
    write_waves(tmp_path / "waves_TEST.ts", 40)
    assert min(accuracies(run(tmp_path, "time_series", {"data": "waves"}, epochs=15))) > 90
    assert sparbor.load(tmp_path / "series.safetensors").inputs[0].shape[-2] == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2:3,4:other", "waves: no series of the training has the class other"),
        ("1,2:slow", "waves: both files must have series, and all series as many channels"),
        ("1,?:3,4:slow", r"waves_TEST.ts, line 7: could not convert string to float: '\?'"),
        ("1,2", "waves_TEST.ts, line 7: not enough values"),
    ],
)
def test_time_series_that_are_wrong(tmp_path: Path, line: str, said: str) -> None:
    write_waves(tmp_path / "waves_TRAIN.ts", 4)
    write_waves(tmp_path / "waves_TEST.ts", 2)
    with (tmp_path / "waves_TEST.ts").open("a") as file:
        file.write(line)
    with pytest.raises(AssertionError, match=f"^{said}"):
        run_script(tmp_path, "time_series", {"data": "waves"})


def test_time_series_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"^no file none_TRAIN.ts and none_TEST.ts; aeon's: "):
        run_script(tmp_path, "time_series", {"data": "none"})
