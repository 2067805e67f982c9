"""``sparbor sparsify`` of what Python makes and of a directory."""

from pathlib import Path

import numpy as np
import pytest
import torch

import sparbor
from sparbor.cli.program import main
from tests import texts

MAKES = """
import torch

def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    return model, [torch.randn(50, 64)]
"""
SENTENCES = "the cat sat\n\nthe mat sat on the cat\n"


@pytest.fixture
def python_file(tmp_path: Path) -> Path:
    file = tmp_path / "model.py"
    file.write_text(MAKES)
    return file


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a dense encoder and its tokenizer, as Hugging Face saves them."""
    folder = tmp_path / "dense"
    texts.encoder().save_pretrained(folder)  # type: ignore[operator]
    texts.tokenizer(tmp_path).save_pretrained(folder)
    return folder


def test_what_a_function_returns_is_made_sparse(
    python_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sparse"
    assert main(["sparsify", f"{python_file}:make", "--out", str(out), "--sparsity", "0.75"]) == 0
    assert "second-order" in capsys.readouterr().out
    plain = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    loaded = sparbor.load_pretrained(out, model=plain)
    assert [round(layer.get_sparsity(), 2) for layer in loaded if hasattr(layer, "get_sparsity")] == [0.75, 0.75]


def test_a_directory_is_made_sparse_and_deployed(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text(SENTENCES)
    out, file = tmp_path / "sparse", tmp_path / "m.safetensors"
    command = ["sparsify", str(directory), "--texts", str(tmp_path / "texts.txt"), "--out", str(out)]
    assert main([*command, "--pattern", "quads"]) == 0
    printed = capsys.readouterr().out
    assert f"`sparbor deploy {out}` makes a file of it" in printed
    assert main(["deploy", str(out), "--out", str(file)]) == 0
    assert (out / "tokenizer_config.json").exists()
    assert main(command) == 2
    assert "there is something already; pass --force" in capsys.readouterr().err
    ids = np.arange(5, 11, dtype=np.int64)[None]
    assert sparbor.load(file)(input_ids=ids, attention_mask=np.ones_like(ids)) is not None
