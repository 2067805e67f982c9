"""docs/scaling.md: its programs run under torchrun, go on from their checkpoints, and what it says of errors is so."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "scaling.md").read_text()
PROGRAMS = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=QUIET, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["ddp", "sharded"])
def test_its_programs_run_and_go_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(PROGRAMS) == {"ddp.py", "sharded.py", "deploy.py"}
    whole = PROGRAMS[f"{name}.py"]
    cut = re.sub(r"^while perforator\.steps < steps:", "while perforator.steps < 45:", whole, flags=re.MULTILINE)
    assert cut != whole
    (tmp_path / "cut.py").write_text(cut)
    (tmp_path / f"{name}.py").write_text(whole)
    # Both in the same processes, since torch takes seconds to import.
    (tmp_path / "twice.py").write_text(f"import runpy\nfor each in 'cut', '{name}':\n    runpy.run_path(each + '.py')")
    said = run([*TORCHRUN, "twice.py"], tmp_path)
    assert re.findall(r"rank \d: ([\d.]+)% of the weights are active", said) == ["10.0"] * 2 * 2
    assert {path.name for path in tmp_path.iterdir()} == {"cut.py", f"{name}.py", "twice.py", f"{name}.pt"}
    if name == "sharded":
        (tmp_path / "deploy.py").write_text(PROGRAMS["deploy.py"])
        monkeypatch.chdir(tmp_path)
        runpy.run_path("deploy.py")
        assert (tmp_path / "model.safetensors").stat().st_size < 4 * 203_530 / 14
