"""The scripts under bench/ run, on little data, and continue where they stopped."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sparbor.program.model_file import save
from tests.c_programs import needs
from tests.conftest import BENCH
from tests.layers import mlp


def run(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / script), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env={**os.environ, **environment})


def test_accuracy_pairs_seeds_and_continues_and_names_cells_that_fail(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    options = ["--epochs", "1", "--data-dir", str(small_mnist), "--json", str(file), "--scratch", str(tmp_path)]
    first = run("accuracy.py", *options, "--sparsity", "0.9", "--seeds", "1", COLUMNS="200")
    assert first.returncode == 0, first.stderr
    rows = json.loads(file.read_text())["rows"]
    dense, tenth = sorted(rows, key=lambda row: row["sparsity"])
    assert [(row["arm"], row["sparsity"], row["seed"]) for row in (dense, tenth)] == [
        ("dense", 0.0, 0),
        ("slots", 0.9, 0),
    ]
    assert tenth["active_parameters"] < dense["active_parameters"] == 269_322
    assert "2 of 2 cells to train" in first.stdout
    assert re.search(r"slots +│ 90 % +│ 27,4\d\d", first.stdout)
    assert all(abs(row["engine_test_accuracy"] - row["test_accuracy"]) < 2 for row in rows)  # of 300 images
    assert str(small_mnist) not in file.read_text()

    second = run("accuracy.py", *options, "--sparsity", "1.5", "0.9", "--seeds", "2")
    assert second.returncode == 1
    assert "4 of 6 cells to train" in second.stdout
    assert "slots 150 %, constant, 1 epochs, seed 0: failed, ArgumentError: sparsity=1.5: must be" in second.stdout
    assert "2 cells failed" in second.stderr
    continued = json.loads(file.read_text())["rows"]
    assert continued[:2] == rows
    assert {(row["arm"], row["sparsity"], row["seed"]) for row in continued[2:]} == {
        ("dense", 0.0, 1),
        ("slots", 0.9, 1),
    }


def test_accuracy_on_cifar10_says_which_data_it_was(small_cifar10: Path, tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    options = ["--dataset", "cifar10", "--data-dir", str(small_cifar10), "--epochs", "1", "--seeds", "1"]
    options += ["--arms", "dense", "slots", "slots-uniform", "--json", str(file), "--scratch", str(tmp_path)]
    result = run("accuracy.py", *options, XDG_CACHE_HOME=str(tmp_path), COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "Data: PNG image folder, not the official CIFAR-10." in result.stdout
    rows = {row["arm"]: row for row in json.loads(file.read_text())["rows"]}
    assert [rows[arm]["distribution"] for arm in ("dense", "slots", "slots-uniform")] == [None, "erk", "uniform"]
    assert all(row["data"] == "PNG image folder, not the official CIFAR-10" for row in rows.values())
    assert abs(rows["slots"]["active_parameters"] - rows["slots-uniform"]["active_parameters"]) < 4 * 16


def test_a_file_of_another_kind_is_not_continued(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    file.write_text(json.dumps({"environment": {"cpu": "another"}, "command": "", "rows": []}))
    result = run("accuracy.py", "--data-dir", str(small_mnist), "--json", str(file))
    assert result.returncode == 1
    assert "is not a file of this study" in result.stderr
    assert json.loads(file.read_text())["environment"] == {"cpu": "another"}


def test_rewiring_is_timed_and_continued(tmp_path: Path) -> None:
    file = tmp_path / "rewiring.json"
    options = ["--models", "tiny", "--batch", "2", "--rewirings", "1", "--json", str(file)]
    result = run("rewiring.py", *options)
    assert result.returncode == 0, result.stderr
    rows = json.loads(file.read_text())["rows"]
    (row,) = rows
    assert min(row[f"{kind}_s"] for kind in ("dense", "tracing", "regrouping", "sparse", "rewiring")) > 0
    assert row["regrouping_s"] > row["dense_s"]
    assert run("rewiring.py", *options).returncode == 0
    assert json.loads(file.read_text())["rows"] == rows


def test_overhead_runs(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "overhead.json"
    options = ["--epochs", "1", "--rounds", "1", "--data-dir", str(small_mnist), "--json", str(file)]
    result = run("overhead.py", *options)
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(file.read_text())["rows"]
    assert all(
        row[f"{training}_{clock}_s"] > 0 for training in ("bare", "side_by_side") for clock in ("wall", "processor")
    )


def test_budgets_of_equal_latency_and_continues(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "budgets.json"
    options = ["--dataset", "mnist", "--epochs", "1", "--data-dir", str(small_mnist), "--json", str(file)]
    result = run("budgets.py", *options, "--seeds", "1", COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "measured µs" in result.stdout
    first = json.loads(file.read_text())
    assert [row["arm"] for row in first["rows"]] == ["dense", "erk", "multiply_adds", "latency_us"]
    dense, erk, _, latency = first["rows"]
    assert latency["predicted_latency_us"] == pytest.approx(erk["predicted_latency_us"], rel=0.01)
    assert erk["multiply_adds"] == erk["active_parameters"] - 522  # biases
    assert dense["stored_kilobytes"] == pytest.approx(dense["modelled_kilobytes"])
    assert all(row["stored_kilobytes"] <= row["modelled_kilobytes"] + 1e-9 for row in first["rows"])
    assert all(row["measured_latency_us"] > 0 for row in first["rows"])
    assert run("budgets.py", *options, "--seeds", "2").returncode == 0
    continued = json.loads(file.read_text())
    assert continued["costs"] == first["costs"]
    assert continued["rows"][:4] == first["rows"]
    assert [row["seed"] for row in continued["rows"]] == [0] * 4 + [1] * 4


def test_fine_tuning_from_a_trained_network_and_continues(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "fine-tuning.json"
    options = ["--dataset", "mnist", "--data-dir", str(small_mnist), "--json", str(file), "--scratch", str(tmp_path)]
    result = run("fine_tuning.py", *options, "--seeds", "0", "--arms", "dense", "fine-tuning", COLUMNS="200")
    assert result.returncode == 0, result.stderr
    first = json.loads(file.read_text())["rows"]
    assert [round(row["density"], 2) for row in first] == [1.0, 0.2]
    assert len({(row["dense_validation_accuracy"], row["dense_test_accuracy"]) for row in first}) == 1
    assert all(row["test_accuracy"] > 60 for row in first)
    assert run("fine_tuning.py", *options, "--seeds", "0", "--arms", "dense", "fine-tuning distilled").returncode == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row["arm"] for row in rows] == ["dense", "fine-tuning", "fine-tuning distilled"]
    assert rows[:2] == first


def test_training_steps_and_a_job_and_continues(small_mnist: Path, tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    options = ["--models", "tiny", "--sparsity", "0.8", "--steps", "2", "--jobs", "mnist", "--epochs", "1"]
    options += ["--data-dir", str(small_mnist), "--json", str(file)]
    result = run("training.py", *options, COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "times as fast" in result.stdout
    rows = json.loads(file.read_text())["rows"]
    assert [row["storage"] for row in rows[:3]] == [None, "masked", "compact"]
    dense, masked, compact = (row["training_bytes"] for row in rows[:3])
    weights, biases = 64 * 48 + 48 * 10, 58  # each with its gradient and Adam's two averages, and two counts of steps
    assert dense == masked == compact == 4 * (4 * (weights + biases) + 4)  # too few for storage to matter
    assert [row["arm"] for row in rows[3:]] == ["dense", "dendritic"]
    assert rows[3]["training_multiply_adds"] > rows[4]["training_multiply_adds"] > 0
    assert all(row["training_s"] > 0 for row in rows[3:])
    assert run("training.py", *options).returncode == 0
    assert json.loads(file.read_text())["rows"] == rows
    assert run("training.py", *options, "--models", "tiny-encoder").returncode == 0
    assert [row["batch"] for row in json.loads(file.read_text())["rows"][5:]] == [32, 32, 32]


def test_training_crossover_runs() -> None:
    result = run("training_crossover.py", "--threads", "1", "--batch", "16", "--rounds", "3")
    assert result.returncode == 0, result.stderr
    assert "dense time / sparse time" in result.stdout
    assert "conv 64 to 64, 32 x 32, channels last" in result.stdout


def test_c_export_compares_the_code_with_the_engine(tmp_path: Path) -> None:
    needs("gcc", "size")
    save(mlp((40, 32, 10), 0.5), tmp_path / "small.safetensors")
    file = tmp_path / "c-export.json"
    result = run("c_export.py", str(tmp_path / "small.safetensors"), "--flags", "O1", "--json", str(file))
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(file.read_text())["rows"]
    assert (row["isa"], row["flags"]) == ("portable", "-O1")
    assert row["ratio"] == row["c_us"] / row["engine_us"] > 0
    assert 4 * 32 == row["ram_bytes"] < row["flash_bytes"]
