"""The commands on a deployed model, and what they have in common: endings, encodings, the version."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import sparbor
from bench.job.models import mnist_mlp
from sparbor.cli.program import main
from sparbor.engine.runtime import Runtime
from sparbor.train.perforator import perforate
from tests.test_values import two_inputs


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = mnist_mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perforate(model, optimizer, sparbor.Recipe(sparsity=0.9), total_steps=1)
    file = tmp_path_factory.mktemp("deployed") / "model.safetensors"
    sparbor.deploy(model, torch.zeros(1, 28, 28)).save(file)
    return file


@pytest.fixture
def images(tmp_path: Path) -> Path:
    file = tmp_path / "x.npy"
    np.save(file, np.random.default_rng(0).standard_normal((5, 28, 28)).astype(np.float32))
    return file


def test_inspect_lists_every_layer(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model_file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "fc1", "fc2", "fc3", "input"]
    assert re.search(r"fc1 +256 +784 +sparse word16 +sparse +\d+\.\d\d% +\d\d,\d{3}$", lines[1])
    assert f"{model_file.stat().st_size:,} bytes stored" in lines[-1]


def test_models_with_several_inputs_are_shown_and_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model"
    Runtime(two_inputs()).save(file)
    assert main(["inspect", str(file)]) == 0
    assert "mask float32 (batch, sequence, 1), vector" in capsys.readouterr().out
    assert main(["time", str(file), "--batch", "3"]) == 0
    assert "batch 3" in capsys.readouterr().out
    assert main(["export", str(file), "--to", "c", "--out", str(tmp_path / "c")]) == 2
    assert (
        "has shape (batch, sequence, 8): this works with programs whose values are all f32" in capsys.readouterr().err
    )


def test_run_gives_what_the_runtime_gives(model_file: Path, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "y.npy"
    assert main(["run", str(model_file), "--input", str(images), "--output", str(output)]) == 0
    np.testing.assert_array_equal(np.load(output), sparbor.load(model_file)(np.load(images)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_inspect_as_json(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model_file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in found["layers"]] == ["fc1", "fc2", "fc3"]
    assert found["inputs"] == [{"name": "input", "dtype": "float32", "shape": ["batch", 28, 28]}]
    assert found["stored_bytes"] == model_file.stat().st_size


def test_time_beside_onnx_runtime(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", str(model_file), "--rival"]) == 0
    ours, rivals = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"ONNX Runtime median ([\d.]+) µs, 95th percentile [\d.]+ µs: ([\d.]+) times as long", rivals)
    assert found, rivals
    assert float(found[1]) / float(ours.split()[1]) == pytest.approx(float(found[2]), abs=0.06, rel=0.01)
    assert main(["time", str(model_file), "--rival", "--json", "--batch", "2"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["batch"] == 2
    assert 0 < measured["sparbor"]["median_us"] < measured["onnxruntime"]["median_us"]


def test_time_prints_a_measurement(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", str(model_file), "--batch", "2"]) == 0
    line = capsys.readouterr().out
    found = re.fullmatch(r"median ([\d.]+) µs, 95th percentile ([\d.]+) µs \(\d+ calls, batch 2, .*\)\n", line)
    assert found, line
    assert 0 < float(found[1]) <= float(found[2])


def test_a_kernel_set_can_be_forced(model_file: Path) -> None:
    command = [sys.executable, "-m", "sparbor", "time", str(model_file)]
    forced = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SPARBOR_ISA": "portable"})
    assert "portable kernels" in forced.stdout
    refused = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SPARBOR_ISA": "sse9"})
    assert refused.returncode == 2
    assert re.fullmatch(r"sparbor: error: SPARBOR_ISA=sse9 .*portable.*\n", refused.stderr)


def sparbor_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sparbor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_the_version() -> None:
    done = sparbor_command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sparbor {sparbor.__version__}\n", "")


def test_without_a_command_those_that_there_are_stand_in_one_line() -> None:
    done = sparbor_command()
    assert (done.returncode, done.stdout) == (2, "")
    commands = "inspect, report, run, sparsify, deploy, export, time, onnx, completion"
    assert done.stderr == f"sparbor: error: a COMMAND is missing: one of {commands} (see sparbor --help)\n"


def test_the_benchmark_is_said_to_be_elsewhere() -> None:
    """It was a command before it left the package, and is one whose options need not be read."""
    done = sparbor_command("benchmark", "--dataset", "mnist", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    remedy = "run `python main.py` in a checkout of Sparbor, with the same options"
    assert done.stderr == f"sparbor: error: the benchmark is not in the package: {remedy} (see sparbor --help)\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["inspct", "x"], "inspect"),
        (["time", "x", "--thraeds", "2"], "--threads"),
        (["deploy", "x", "--out", "y", "--wieghts", "int8"], "--weights"),
        (["deploy", "x", "--out", "y", "--weights", "int9"], "int8"),
    ],
)
def test_the_nearest_right_word_is_named(arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    error = capsys.readouterr().err
    assert f"(did you mean {meant}? see sparbor" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("encoding", "unit"), [("ascii", "us"), ("cp1251", "µs"), ("latin-1", "µs"), ("utf-8", "µs")])
def test_output_in_any_encoding(encoding: str, unit: str, model_file: Path) -> None:
    command = [sys.executable, "-m", "sparbor", "time", str(model_file)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert re.match(rf"median [\d.]+ {unit}, 95th percentile [\d.]+ {unit} \(", done.stdout.decode(encoding))


def test_names_that_the_encoding_lacks(tmp_path: Path) -> None:
    model, file = torch.nn.Sequential(), tmp_path / "modèle-π.safetensors"
    model.add_module("слой", torch.nn.Linear(4, 2))
    sparbor.deploy(model, torch.zeros(1, 4)).save(file)
    shown = sparbor_command("inspect", str(file), PYTHONIOENCODING="ascii")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[1].startswith(r"\u0441\u043b\u043e\u0439 ")
    exported = sparbor_command("export", str(file), "--to", "c", "--out", str(tmp_path / "π"), PYTHONIOENCODING="ascii")
    assert exported.returncode == 2  # the name is none in C
    assert r"mod\xe8le-\u03c0" in exported.stderr
    assert exported.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes")
def test_file_names_that_are_no_text(model_file: Path, tmp_path: Path) -> None:
    out = os.fsencode(tmp_path) + b"/caf\xe9"
    command = [sys.executable, "-m", "sparbor", "export", str(model_file), "--to", "c", "--name", "model", "--out", out]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    assert rb"caf\udce9: model.h" in done.stdout


def test_these_commands_need_no_torch(model_file: Path, images: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from sparbor.cli.program import main\n"
        f"assert main(['run', {str(model_file)!r}, '--input', {str(images)!r},"
        f" '--output', {str(tmp_path / 'y.npy')!r}]) == 0\n"
        "print([name for name in ('torch', 'rich', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_a_reader_that_goes_away_is_no_error(model_file: Path) -> None:
    command = f"{sys.executable} -m sparbor inspect {model_file} | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stderr == ""


def test_a_model_of_bytes_says_so_and_runs_on_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    file, output = tmp_path / "model.safetensors", tmp_path / "y.npy"
    byte_input = sparbor.ByteInput(mean=(0.5, 0.25, 0.125), std=0.25)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.Flatten())
    sparbor.deploy(model, torch.zeros(1, 3, 6, 6), byte_input=byte_input).save(file)
    given = np.random.default_rng(0).integers(256, size=(2, 3, 6, 6), dtype=np.uint8)
    np.save(tmp_path / "x.npy", given)
    assert main(["inspect", str(file)]) == 0
    settings = "mean 0.5, 0.25, 0.125, std 0.25, 0.25, 0.25"
    takes = (
        f"takes uint8, normalised with {settings}, or float32 that is normalised already; byte b of a channel becomes"
    )
    assert takes in capsys.readouterr().out
    arguments = ["run", str(file), "--input", str(tmp_path / "x.npy"), "--output", str(output)]
    assert main(arguments) == 0
    np.testing.assert_array_equal(np.load(output), sparbor.load(file)(given))
    said = capsys.readouterr()
    assert said.out == f"took {tmp_path / 'x.npy'} (uint8) as raw pixel values, normalised with {settings}\n"
    assert said.err == ""
    np.save(tmp_path / "x.npy", given.astype(np.float32))
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert said.out == f"took {tmp_path / 'x.npy'} (float32) as normalised already\n"
    assert re.fullmatch(
        r"sparbor: warning: x holds float32 from .*Pass raw pixel values, 0 to 255, as uint8;.*\n", said.err
    )


def test_bytes_for_a_model_of_floats(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 28, 28), np.uint8))
    output = tmp_path / "y.npy"
    assert main(["run", str(model_file), "--input", str(tmp_path / "x.npy"), "--output", str(output)]) == 2
    assert "deploy the model with byte_input=sparbor.ByteInput(mean, std)" in capsys.readouterr().err
    assert not output.exists()
