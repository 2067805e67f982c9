"""What README and CONTRIBUTING say holds: their Python runs, their commands and links exist."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_and_is_short(tmp_path: Path) -> None:
    (example,) = blocks("python")
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 15
    result = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "10.0% of the weights are active" in result.stdout
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * 203_530 / 14
    assert re.search(r"^0 +Linear +200,960 +8.85 % +100 % +yes$", result.stdout, flags=re.MULTILINE)


def test_the_examples_of_a_session_give_what_they_show() -> None:
    tests = doctest.DocTestParser().get_doctest("".join(blocks("pycon")), {}, "README", None, None)
    assert len(tests.examples) >= 5
    assert doctest.DocTestRunner().run(tests).failed == 0


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = re.findall(r"make (\w+)", "\n".join(blocks("sh")))
    assert named
    assert set(named) <= targets


def test_commands_name_scripts_and_options_that_exist() -> None:
    commands = re.findall(r"python (\S+\.py)(.*)", "\n".join(blocks("sh")))
    assert commands
    for script, options in commands:
        result = subprocess.run([sys.executable, str(REPOSITORY / script), "--help"], capture_output=True, text=True)
        assert result.returncode == 0
        for option in re.findall(r"--[\w-]+", options):
            assert option in result.stdout


def test_sparbor_commands_exist() -> None:
    commands = re.findall(r"^sparbor (\w+) \S+(.*)", "\n".join(blocks("sh")), flags=re.MULTILINE)
    assert {name for name, _ in commands} == {"inspect", "time", "report", "run", "export"}
    for name, options in commands:
        result = subprocess.run([sys.executable, "-m", "sparbor.cli", name, "--help"], capture_output=True, text=True)
        assert result.returncode == 0
        assert all(option in result.stdout for option in re.findall(r"--\w+", options.partition("#")[0]))


def test_links_lead_somewhere() -> None:
    for page in (
        "README.md",
        "CONTRIBUTING.md",
        "docs/export.md",
        "docs/metrics.md",
        "docs/report.md",
        "docs/trainers.md",
        "docs/c-api.md",
        "docs/format.md",
        "docs/kernels.md",
        "docs/onnx.md",
        "docs/releasing.md",
        "docs/scaling.md",
        "docs/training.md",
    ):
        text = (REPOSITORY / page).read_text()
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (REPOSITORY / page).parent.joinpath(target).exists(), f"{page}: {target}"
