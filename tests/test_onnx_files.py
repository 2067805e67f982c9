"""ONNX files of several exporters go through pack and from_onnx, and what answers otherwise is a failure."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import sparbor.onnxruntime
from bench.network_zoo.registry import NETWORKS
from bench.onnx_checks import check as checking
from bench.onnx_checks import scikit_learn
from bench.onnx_checks.check import check
from bench.onnx_checks.exporters import EXPORTERS, check_network
from bench.onnx_checks.page import PAGE, ROWS, pages

torch.set_num_threads(1)
MISSING = sparbor.onnxruntime.missing()
packs = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@packs
@pytest.mark.parametrize("name", ["mlp", "text-cnn", "gpt-by-hand", "transformers/minilm-sentences"])
def test_both_exporters_files_are_packed_and_run_on_the_engine(name: str, tmp_path: Path) -> None:
    rows = check_network(NETWORKS[name], tmp_path)
    assert [row["exporter"] for row in rows] == list(EXPORTERS)
    for row in rows:
        assert row["failed"] is None, row["error"]
        assert row["pack"] is None
        assert row["packed"] > 0
        assert row["packed_bytes"] < row["bytes"]
        assert row["from_onnx"] is None
        assert row["any_batch"]


@packs
def test_what_an_exporter_makes_of_recurrent_networks_runs_on_the_engine(tmp_path: Path) -> None:
    for row in check_network(NETWORKS["gru"], tmp_path):
        assert row["failed"] is None, row["error"]
        assert row["from_onnx"] is None


@packs
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators_of_scikit_learn_run_on_the_engine(tmp_path: Path) -> None:
    rows = {file.stem: check(file) for file in scikit_learn.write(tmp_path)}
    assert len(rows) == 5
    assert all(row["from_onnx"] is None for row in rows.values())
    assert [row["packed"] for name, row in rows.items() if "-mlp-" in name] == [2, 2, 2]


@packs
@pytest.mark.parametrize("ours", [True, False], ids=["packed", "engine"])
def test_an_answer_that_is_off_is_a_failure(ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, error = checking.largest_error, iter([0.0, 0.0] if not ours else [])
    monkeypatch.setattr(checking, "largest_error", lambda *pair: real(*pair) + next(error, 1.0))
    (row,) = (row for row in check_network(NETWORKS["mlp"], tmp_path) if row["exporter"] == "TorchScript")
    assert row["failed"] == "check"


def test_the_page_is_what_the_rows_make() -> None:
    assert {PAGE: PAGE.read_text()} == pages(json.loads(ROWS.read_text())), "run python bench/onnx_files.py --page"


def test_no_committed_row_is_off() -> None:
    rows = json.loads(ROWS.read_text())["rows"]
    assert len(rows) >= 20
    engine = [row["engine"] for row in rows if not row["failed"] and row["from_onnx"] is None]
    assert np.max(engine) <= checking.EXACT_LIMIT
