"""docs/scaling.md: its programs run under torchrun, which starts them again where a rank dies, and they go on."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "scaling.md").read_text()
PROGRAMS = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run"),
    *("--standalone", "--nproc-per-node", "2", "--max-restarts", "1"),
]
SETTINGS = dict(re.findall(r"(TORCH_\w+)=(\d)", PAGE))
ENVIRONMENT = {**os.environ, **SETTINGS, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
POWER_CUT = """
    if perforator.steps == 45 and rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os._exit(1)
"""
# A process that has used fully_shard over gloo aborts about once in twenty times when Python ends, without Sparbor too.
AT_ONCE = """
print(f"went on from {first}", flush=True)
os._exit(0)
"""


def torchrun(program: Path) -> str:
    """What the program prints; if it hangs, torchrun is told to end its ranks."""
    process = subprocess.Popen(
        [*TORCHRUN, program.name],
        cwd=program.parent,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate(timeout=60)
        raise
    assert process.returncode == 0, errors
    return out


@pytest.mark.parametrize("name", ["ddp", "sharded"])
def test_its_programs_run_and_go_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(PROGRAMS) == {"ddp.py", "sharded.py", "deploy.py"}
    program = tmp_path / f"{name}.py"
    whole = PROGRAMS[program.name]
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE" in SETTINGS
    head, loop, body = whole.partition("while perforator.steps < steps:\n")
    assert loop
    program.write_text(f"{head}first = perforator.steps\n{loop}{POWER_CUT}{body}{AT_ONCE}")
    said = torchrun(program)
    assert re.findall(r"rank \d: ([\d.]+)% of the weights are active", said) == ["10.0"] * 2
    assert re.findall(r"went on from (\d+)", said) == ["40"] * 2
    assert {path.name for path in tmp_path.iterdir()} == {program.name, f"{name}.pt"}
    if name == "sharded":
        (tmp_path / "deploy.py").write_text(PROGRAMS["deploy.py"])
        monkeypatch.chdir(tmp_path)
        runpy.run_path("deploy.py")
        assert (tmp_path / "model.safetensors").stat().st_size < 4 * 203_530 / 14
