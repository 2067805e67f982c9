"""``sparbor export --to c``: what it writes and prints, and what it refuses."""

import subprocess
from pathlib import Path

import pytest

from sparbor.cli.program import main
from sparbor.errors import ArgumentError, OutputError
from sparbor.export.c.identifiers import check_name
from sparbor.export.c.target import export_c
from sparbor.program.model_file import load, save
from sparbor.program.program import Activation, Operation, Program
from tests.c_programs import STRICT, needs
from tests.layers import mlp
from tests.test_program import planes_program

FILES = ["Makefile", "digits.c", "digits.h", "main.c"]


@pytest.fixture(scope="module")
def program() -> Program:
    return mlp((784, 256, 10))


@pytest.fixture(scope="module")
def model_file(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("deployed") / "digits.safetensors"
    save(program, file)
    return file


def test_the_command_prints_sizes(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "export"
    assert main(["export", str(model_file), "--to", "c", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    printed, header = capsys.readouterr().out, (out / "digits.h").read_text()
    written = export_c(load(model_file), tmp_path / "again", "digits")
    assert f"flash {written.flash_bytes:,} bytes" in printed
    assert f"RAM {written.ram_bytes:,} bytes" in printed
    assert f"#define DIGITS_FLASH_BYTES {written.flash_bytes} " in header
    assert f"#define DIGITS_RAM_BYTES {written.ram_bytes} " in header
    assert written.ram_bytes == 4 * 256


def test_exporting_is_reproducible(program: Program, tmp_path: Path) -> None:
    one, other = (export_c(program, tmp_path / name).files for name in ("one", "other"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def assert_refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    try:
        status = main(["export", *arguments])
    except SystemExit as end:
        status = end.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_an_unknown_target(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(model_file), "--to", "fortran", "--out", str(tmp_path / "out")]
    assert_refused(arguments, capsys, "'fortran'", "'c'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["", "2net", "my-net", "größe", "a b", "int", "class", "_net", "main", "a" * 64, "a\n"]
)
def test_a_name_that_c_cannot_have(
    name: str, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused([str(model_file), "--to", "c", "--out", str(tmp_path / "out"), f"--name={name}"], capsys, "--name")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["net", "Net2", "a_b", "a" * 63, "sum", "memory", "compute", "layer0"])
def test_a_name_that_c_can_have(name: str, tmp_path: Path) -> None:
    needs("gcc")
    assert check_name(name) == name
    export_c(planes_program(), tmp_path, name)
    subprocess.run(["gcc", *STRICT, "-fsyntax-only", f"{name}.c", "main.c"], cwd=tmp_path, check=True)


def test_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged, out = tmp_path / "digits.safetensors", tmp_path / "out"
    assert_refused([str(damaged), "--to", "c", "--out", str(out)], capsys, "could not read")
    damaged.write_bytes(b"no model at all")
    assert_refused([str(damaged), "--to", "c", "--out", str(out)], capsys, "the header claims")
    assert not out.exists()


def test_an_operation_that_c_lacks(tmp_path: Path) -> None:
    softmax = Program.of_items(((8,), (8,)), 0, 1, (Operation("log_softmax", (0,), 1),))
    mish = Program.of_items(((8,), (8,)), 0, 1, (Operation("activation", (0,), 1, None, Activation("mish")),))
    for program, name in ((softmax, "'log_softmax'"), (mish, "'mish'")):
        with pytest.raises(ArgumentError, match=f"{name}, which the target c lacks"):
            export_c(program, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_with_files_is_left_alone(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    arguments = [str(model_file), "--to", "c", "--out", str(tmp_path)]
    assert_refused(arguments, capsys, "such as notes", "--force")
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
    for _ in range(2):  # the second time it replaces its own files
        assert main(["export", *arguments, "--force"]) == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "notes"])
        (tmp_path / "digits.c").write_text((tmp_path / "digits.c").read_text().splitlines()[0] + "\nolder\n")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize("file", FILES)
def test_a_foreign_file_of_the_same_name_is_not_replaced(file: str, program: Program, tmp_path: Path) -> None:
    (tmp_path / file).write_text("all: mine\n")
    with pytest.raises(OutputError, match=f"{file}.* is there and not of an earlier export"):
        export_c(program, tmp_path, "digits", force=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(file, "all: mine\n")]


def test_a_directory_that_cannot_be_one(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="file"):
            export_c(program, out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
