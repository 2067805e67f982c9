"""What shells complete the command line by: asked of the shells themselves where they are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sparbor.cli.completing import SHELLS
from sparbor.cli.program import main


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(text: str, words: list[str], folder: Path) -> list[str]:
    """What bash completes the last of ``words`` by."""
    lines = [
        f"COMP_WORDS=({' '.join(words)})",
        f"COMP_CWORD={len(words) - 1}",
        "_shtab_sparbor",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    ran = subprocess.run(
        ["bash", "-c", "\n".join([text, *lines])], capture_output=True, text=True, check=True, cwd=folder, timeout=30
    )
    return ran.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sparbor", "ins"], ["inspect"]),
        (["sparbor", "deploy", "--we"], ["--weights"]),
        (["sparbor", "deploy", "--weights", "in"], ["int8"]),
        (["sparbor", "onnx", "pack", "--min"], ["--min-sparsity"]),
        (["sparbor", "inspect", "mo"], ["model.safetensors"]),
        (["sparbor", "completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes(
    words: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.safetensors").touch()
    assert completed(script("bash", capsys), words, tmp_path) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_that_knows_the_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    assert "sparsify" in text
    assert "min-sparsity" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True, timeout=30)  # reads it, and runs nothing


def test_the_help_says_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "--help"])
    shown = capsys.readouterr().out
    assert all(where in shown for where in SHELLS.values())


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "bsh"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "did you mean bash?" in error
    assert error.count("\n") == 1
