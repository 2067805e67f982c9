"""``sparbor deploy`` of what Python makes and of a directory; of ONNX models tests/test_from_onnx.py says more."""

from pathlib import Path

import numpy as np
import pytest
import torch

import sparbor
from sparbor.cli.program import main
from tests import texts

MAKES = """
import torch
from beside import WIDTH

def make():
    torch.manual_seed(0)
    return torch.nn.Linear(WIDTH, 16), torch.zeros(1, WIDTH)

def model_alone():
    return torch.nn.Linear(WIDTH, 16)

NUMBER = 3
"""


@pytest.fixture
def python_file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("WIDTH = 32")
    file = tmp_path / "model.py"
    file.write_text(MAKES)
    return file


def test_what_a_function_returns_is_deployed(
    python_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.safetensors"
    assert main(["deploy", f"{python_file}:make", "--out", str(out), "--weights", "exact"]) == 0
    assert capsys.readouterr().out.startswith("input float32 (batch, 32) -> output float32 (batch, 16), 512 of 512")
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(32, 16), torch.randn(3, 32)
    np.testing.assert_allclose(sparbor.load(out)(x.numpy()), layer(x).detach().numpy(), atol=1e-6)
    before = out.read_bytes()
    assert main(["deploy", f"{python_file}:make", "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(["deploy", f"{python_file}:make", "--out", str(out), "--force"]) == 0
    assert out.read_bytes() != before


def test_a_directory_is_deployed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, folder, out = texts.encoder().eval(), tmp_path / "encoder", tmp_path / "m.safetensors"
    sparbor.save_pretrained(texts.made_sparse(model), folder)
    assert main(["deploy", str(folder), "--out", str(out), "--weights", "exact"]) == 0
    assert "input_ids int64 (batch, " in capsys.readouterr().out
    ids = torch.randint(5, 20, (3, 6))
    answer = sparbor.load(out)(input_ids=ids.numpy(), attention_mask=torch.ones_like(ids).numpy())
    found = next(iter(answer.values())) if isinstance(answer, dict) else answer
    with torch.no_grad():
        wanted = model(ids, torch.ones_like(ids))
    np.testing.assert_allclose(found, next(iter(wanted.values())).numpy(), atol=1e-5)
