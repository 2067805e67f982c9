"""Every argument of the command line wrong once: one line that says what is wrong, status 2, and nothing written."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sparbor.cli.program import main, with_commands
from tests.test_cli import model_file as model_file  # a fixture

torch.set_num_threads(1)

MAKES = """
import torch
def model(): return torch.nn.Sequential(torch.nn.Linear(64, 32)), torch.zeros(2, 64)
def batches(): return torch.nn.Sequential(torch.nn.Linear(64, 32)), [torch.randn(8, 64)]
def raises(): raise ValueError("no weights here\\nand a second line")
number = 3
def other(): return 3
"""

# What follows the command, with everything right; each case replaces or adds to that.
RIGHT = {
    "inspect": ["{model}"],
    "report": ["{metrics}", "--out", "{out}"],
    "run": ["{model}", "--input", "{x}", "--output", "{out}"],
    "sparsify": ["{py}:batches", "--out", "{out}"],
    "deploy": ["{py}:model", "--out", "{out}"],
    "export": ["{model}", "--to", "c", "--out", "{out}"],
    "time": ["{model}"],
    "onnx pack": ["{onnx}", "--out", "{out}"],
    "completion": ["bash"],
}
# By command and argument, what may be wrong with it, and a part of what is said then.
NO_MODEL = {"{absent}": "absent", "{folder}": "folder", "{text}": "text", "{x}": r"x\.npy"}
NO_COUNT = {"two": "invalid int value: 'two'", "0": "=0: ", "-1": "=-1: ", "1.5": "invalid int value"}
NO_OUT = {"{folder}": "folder", "{absent}/out": "absent"}
NO_WAY = {"int9": "did you mean int8"}
WRONG: dict[tuple[str, str], dict[str, str]] = {
    ("inspect", "file"): NO_MODEL,
    ("report", "metrics"): {"{absent}": "absent", "{folder}": "folder", "{text}": "text"},
    ("report", "--out"): NO_OUT,
    ("run", "file"): NO_MODEL,
    ("run", "--input"): {"{absent}": "absent", "{folder}": "folder", "{text}": "text", "{model}": "model"},
    ("run", "--output"): NO_OUT,
    ("run", "--threads"): NO_COUNT,
    ("sparsify", "model"): {
        "{absent}": "absent",
        "{text}": "text",
        "{folder}": "config.json",
        "{absent}.py:batches": "absent",
        "{py}:batche": "no function 'batche'",
        "{py}:number": "no function 'number'",
        "{py}:other": "returned a int",
        "{py}:raises": "no weights here",
    },
    ("sparsify", "--out"): {"{text}": "text", "{text}/out": "text"},
    ("sparsify", "--texts"): {"{text}": "a function returns its own batches; leave out --texts"},
    ("sparsify", "--sparsity"): {"1": "sparsity", "-0.5": "sparsity", "nan": "sparsity", "half": "invalid float"},
    ("sparsify", "--method"): {"wandb": "did you mean wanda"},
    ("sparsify", "--pattern"): {"quad": "did you mean quads"},
    ("deploy", "model"): {
        "{absent}": "absent",
        "{text}": "text",
        "{folder}": "config.json",
        "{absent}.py:model": "absent",
        "{py}:modle": "no function 'modle'",
        "{py}:other": "returned a int",
        "{py}:raises": "no weights here",
    },
    ("deploy", "--out"): NO_OUT,
    ("deploy", "--weights"): NO_WAY,
    ("export", "file"): NO_MODEL,
    ("export", "--to"): {"cc": "invalid choice: 'cc'"},
    ("export", "--out"): {"{text}": "text", "{text}/out": "text"},
    ("export", "--name"): {"3d": "3d", "a b": "a b", "": "name"},
    ("time", "file"): NO_MODEL,
    ("time", "--batch"): NO_COUNT,
    ("time", "--threads"): NO_COUNT,
    ("onnx pack", "file"): {"{absent}": "absent", "{folder}": "folder", "{text}": "text", "{model}": "model"},
    ("onnx pack", "--out"): NO_OUT,
    ("onnx pack", "--weights"): NO_WAY,
    ("onnx pack", "--min-sparsity"): {"2": "min_sparsity", "nan": "min_sparsity", "most": "invalid float"},
    ("onnx pack", "--inputs"): {"{absent}": "absent", "{folder}": "folder", "{text}": "text", "{x}": r"x\.npy"},
    ("completion", "shell"): {"bsh": "did you mean bash"},
}
FLAG = "is a flag and has no value"


def commands() -> Iterator[tuple[str, list[argparse.Action]]]:
    """All commands with their arguments, those of groups of commands too."""
    todo = [("", with_commands()[0])]
    while todo:
        name, parser = todo.pop()
        groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        todo += [(f"{name} {word}".strip(), each) for group in groups for word, each in group.choices.items()]
        if not groups:
            yield name, [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def name_of(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else action.dest


def takes_a_value(action: argparse.Action) -> bool:
    return action.nargs != 0


CASES = [(command, argument, value) for (command, argument), values in WRONG.items() for value in values]
CASES += [
    (command, name_of(action), FLAG)
    for command, actions in commands()
    for action in actions
    if not takes_a_value(action)
]


def test_no_argument_is_forgotten() -> None:
    there = {(name, name_of(action)) for name, actions in commands() for action in actions if takes_a_value(action)}
    assert there == WRONG.keys()
    assert {name for name, _ in commands()} == RIGHT.keys()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("onnx") / "dense.onnx"
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    network[0].weight.data[:, 8:] = 0  # so that it can be packed
    torch.onnx.export(network, (torch.zeros(1, 64),), file, dynamo=False)
    return file


@pytest.fixture
def given(model_file: Path, onnx_file: Path, tmp_path: Path) -> dict[str, Path]:
    """What the arguments name."""
    np.save(tmp_path / "x.npy", np.zeros((1, 28, 28), np.float32))
    (tmp_path / "text").write_text("no model\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "makes.py").write_text(MAKES)
    return {
        "model": model_file,
        "onnx": onnx_file,
        "metrics": Path(__file__).parent / "golden" / "metrics.json",
        "py": tmp_path / "makes.py",
        "x": tmp_path / "x.npy",
        **{name: tmp_path / name for name in ("text", "folder", "absent", "out")},
    }


def arguments_of(command: str, argument: str, value: str) -> list[str]:
    """The right ones with this one wrong."""
    right = list(RIGHT[command])
    if value == FLAG:
        return [*right, f"{argument}=3"]
    if not argument.startswith("--"):
        return [value, *right[1:]]
    if argument in right:
        right[right.index(argument) + 1] = value
        return right
    return [*right, argument, value]


def content(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("command", "argument", "value"), CASES, ids=lambda each: str(each).replace(" ", "_"))
def test_one_line_and_nothing_written(
    command: str, argument: str, value: str, given: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = "ignored explicit argument '3'" if value == FLAG else WRONG[command, argument][value]
    folder = given["text"].parent
    before = content(folder)
    words = [each.format(**given) for each in arguments_of(command, argument, value)]
    try:
        status = main([*command.split(), *words])
    except SystemExit as stop:  # argparse's
        status = stop.code
    output = capsys.readouterr()
    assert status == 2, output
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    assert re.search(said, output.err), output.err
    assert content(folder) == before


@pytest.mark.parametrize("command", RIGHT)
def test_what_is_missing_is_said(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(command.split())
    assert re.fullmatch(
        rf"sparbor {command}: error: the following arguments are required: .*\n", capsys.readouterr().err
    )
