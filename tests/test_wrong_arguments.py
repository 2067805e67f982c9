"""Every argument of every command, wrong in every way that we know: one line, status 2, and nothing is written."""

import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sparbor.cli.program import main, new_parser
from sparbor.program.model_file import save
from tests import texts
from tests.layers import mlp
from tests.wrong_arguments import arguments_of, commands_of, name_of, refusal, takes_any_value, wrong_by_form
from tests.wrong_values import RIGHT, WRONG

MADE = """
import torch
from torch import nn

def make():
    return nn.Linear(32, 16), torch.zeros(1, 32)

def batches():
    return nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)), [torch.randn(20, 32)]

def alone():
    return nn.Linear(32, 16)

def raises():
    raise ValueError("mine\\nand more")

def ends():
    raise SystemExit(0)

def takes_one(x):
    return x

def other_example():
    return nn.Linear(32, 16), torch.zeros(1, 31)

def text_as_example():
    return nn.Linear(32, 16), "text"

def no_batches():
    return batches()[0], []

def other_batches():
    return batches()[0], [torch.randn(20, 31)]

class Fourier(nn.Module):
    def forward(self, x):
        return torch.fft.fft(x).real

def unknown_operator():
    return Fourier(), torch.zeros(1, 32)

NUMBER = 3
"""

COMMANDS = dict(commands_of(new_parser()[0]))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are right for some command, and wrong for others."""
    folder = tmp_path_factory.mktemp("filled")
    save(mlp((784, 16, 10)), folder / "model")
    for name, text in {
        "text": "text\n",
        "texts": "the cat sat\n",
        "empty": "",
        "metrics.json": "{}",
        "made.py": MADE,
        "syntax.py": "def make(:\n",
        "nul.py": "\0",
        "raises.py": "\n1 / 0\n",
        "imports.py": "import no_such_module\n",
    }.items():
        (folder / name).write_text(text)
    for name in ("folder", "full", "other", "temporary"):
        (folder / name).mkdir()
    (folder / "full" / "a").write_text("mine")
    (folder / "other" / "config.json").write_text("{}")
    shutil.copy(folder / "model", folder / "model.safetensors")  # as a run leaves it beside its metrics
    (folder / "nowhere").symlink_to("not there")
    write_arrays(folder)
    write_onnx_models(folder)
    texts.encoder().save_pretrained(folder / "wordless")  # type: ignore[operator]
    shutil.copytree(folder / "wordless", folder / "encoder")
    texts.tokenizer(folder).save_pretrained(folder / "encoder")
    return folder


def write_arrays(folder: Path) -> None:
    for name, array in {
        "x": np.zeros((2, 784), np.float32),
        "whole": np.zeros((2, 784), np.int64),
        "narrow": np.zeros((2, 7), np.float32),
        "none": np.zeros((0, 784), np.float32),
        "objects": np.array([None, {}], dtype=object),
    }.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "header.npy").write_bytes((folder / "x.npy").read_bytes().replace(b"{'descr'", b"{{'desc'"))
    np.savez(folder / "x.npz", x=np.zeros((2, 64), np.float32))
    np.savez(folder / "other.npz", z=np.zeros((2, 64), np.float32))


def write_onnx_models(folder: Path) -> None:
    weight = np.eye(64, dtype=np.float32)
    for name, kind in {"model": "MatMul", "unknown": "Frobnicate"}.items():
        ports = [helper.make_tensor_value_info(port, 1, ["rows", 64]) for port in "xy"]
        node = helper.make_node(kind, ["x", "w"], ["y"])
        graph = helper.make_graph([node], "g", ports[:1], ports[1:], [numpy_helper.from_array(weight, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / f"{name}.onnx")


@pytest.fixture
def folder(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where the command runs; what it writes for a while lies there too."""
    monkeypatch.chdir(filled)
    monkeypatch.setattr(tempfile, "tempdir", str(filled / "temporary"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return filled


def words(command: str) -> list[str]:
    return [*command.split(), *shlex.split(RIGHT[command])]


def wrong_values() -> Iterator[tuple[str, str, str, str]]:
    for command, arguments in WRONG.items():
        for name, cases in arguments.items():
            for value, said in cases:
                yield command, name, value, said


@pytest.mark.parametrize(("command", "name", "value", "said"), list(wrong_values()))
def test_a_wrong_value(
    command: str, name: str, value: str, said: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    value, *others = re.split(r" (?=--)", value)
    value = "" if value == "''" else value
    line = words(command)
    if name.startswith("--"):
        line.append(f"{name}={value}")  # of an option that is given twice the last counts
    else:
        line[len(command.split())] = value
    if name == "--texts" and "directory's" not in said:
        line[1] = "encoder"
    error = refusal(main, [*line, *shlex.split(" ".join(others))], folder, capfd)
    assert error.startswith("sparbor: error: ")
    assert re.search(said, error), error


def test_every_argument_that_takes_a_value_is_given_wrong_ones() -> None:
    """Of others the parser knows all values, and refuses the rest as below."""
    taking = {
        command: {name for name, argument in arguments_of(parser).items() if takes_any_value(argument)}
        for command, parser in COMMANDS.items()
    }
    assert taking == {command: set(arguments) for command, arguments in WRONG.items()}
    assert taking.keys() == RIGHT.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_parser_refuses(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for line, said in wrong_by_form(COMMANDS[command], words(command)):
        error = refusal(main, line, folder, capfd)
        assert said in error
        assert "(see sparbor" in error or "? see sparbor" in error


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_missing(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    required = [name_of(argument) for argument in COMMANDS[command]._actions if argument.required]
    error = refusal(main, command.split(), folder, capfd)
    assert f"the following arguments are required: {', '.join(required)} (see sparbor {command} --help)" in error


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", r"argument COMMAND: invalid choice: 'nonsense' \(choose from 'inspect', "),
        ("", r"a COMMAND is missing: one of inspect, "),
        ("onnx", r"a COMMAND is missing: pack"),
        ("onnx nonsense", r"argument COMMAND: invalid choice: 'nonsense' \(choose from 'pack'\)"),
        ("completion bsh", r"argument SHELL: invalid choice: 'bsh' \(choose from .*\(did you mean bash\?"),
        ("--version=3", r"argument --version: ignored explicit argument '3'"),
        ("--frobnicate", r"unrecognized arguments: --frobnicate"),
        ("inspect model '--no\nline'", r"unrecognized arguments: --no\\nline"),
    ],
)
def test_words_that_no_command_has(line: str, said: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert re.search(said, refusal(main, shlex.split(line), folder, capfd))


def test_the_lines_that_are_wrong_by_one_argument_are_right_without_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    for command in RIGHT.keys() - {"report"}:  # whose metrics are a whole run's
        assert main(words(command)) == 0, capfd.readouterr().err
        capfd.readouterr()
        if os.path.isdir("new"):
            shutil.rmtree("new")
        Path("new").unlink(missing_ok=True)
